//! The `lakeward` command line: the local host. It parses, opens what the configuration names, and hands messages to
//! the library; it holds no logic of the protocol.

#![expect(clippy::print_stderr, reason = "a command line talks to its user")]

mod cli;
mod commands;
mod failure;
mod print;
mod progress;
mod queue;
mod run_id;
mod services;
mod summary;
mod terminal;
mod work;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};
use failure::{Exit, Failure};

#[tokio::main]
async fn main() -> ExitCode {
    // clap ends with 2 for a wrong command line, as documented.
    let cli = Cli::parse();
    // Several crates use rustls; the first to ask would otherwise choose the provider.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let exit = match terminal::log(cli.global.log, &cli.global.log_level) {
        Ok(()) => dispatch(cli).await.unwrap_or_else(|failure| failure.report()),
        Err(failure) => failure.report(),
    };
    exit.into()
}

async fn dispatch(cli: Cli) -> Result<Exit, Failure> {
    let global = &cli.global;
    match cli.command {
        Command::Check => commands::check::check(global).await,
        Command::Discover(args) => commands::discover::discover(&args, global).await,
        Command::Plan(args) => commands::plan::plan(&args, global).await,
        Command::Run(args) => commands::run::run(&args, global).await,
        Command::Reload(args) => commands::reload::reload(&args, global).await,
        Command::Status(args) => commands::status::status(&args, global).await,
        Command::Runs(args) => commands::runs::runs(&args, global).await,
        Command::Show(args) => commands::show::show(&args, global).await,
        Command::Resume(args) => commands::resume::resume(&args, global).await,
        Command::Abandon(args) => commands::abandon::abandon(&args, global).await,
        Command::Clean(args) => commands::clean::clean(&args, global).await,
        Command::Schema => Ok(commands::schema::schema()),
        Command::Serve => Err(Failure::wrong(
            "cannot serve in this version: call lakeward run from a timer (cron, systemd); what is due is its business",
        )),
    }
}
