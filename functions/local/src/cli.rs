//! The command line: what can be asked, and how it reads in `--help`.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

const EXAMPLES: &str = "\
Examples:
  lakeward check                                is everything reachable, and allowed?
  lakeward discover shop -o jobs.toml           propose a job for each table of a connection
  lakeward plan orders                          what would be read and written
  lakeward run                                  run every job; what was interrupted goes on where it stopped
  lakeward run orders customers --jobs 8        run two jobs, eight slices at a time
  lakeward reload orders --from 2024-05-01      read a range again
  lakeward status                               how far each job is

Exit codes: 0 done, 1 a job or a check failed, 2 the configuration or the command line is wrong, 3 interrupted (state is safe).";

/// Copies tables into a lakehouse, each row exactly once.
#[derive(Debug, Parser)]
#[command(name = "lakeward", version, after_help = EXAMPLES, max_term_width = 110, infer_subcommands = false)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
pub struct Global {
    /// The configuration file.
    #[arg(
        short,
        long,
        global = true,
        value_name = "FILE",
        env = "LAKEWARD_CONFIG",
        hide_env_values = true,
        default_value = "lakeward.toml"
    )]
    pub config: PathBuf,
    /// Print JSON instead of tables.
    #[arg(long, global = true)]
    pub json: bool,
    /// How log lines look; they go to standard error.
    #[arg(long, global = true, value_enum, value_name = "FORMAT", default_value_t = LogFormat::Text)]
    pub log: LogFormat,
    /// Which log lines: error, warn, info, debug, or a filter such as lakeward=debug,warn.
    #[arg(
        long,
        global = true,
        value_name = "FILTER",
        env = "LAKEWARD_LOG",
        hide_env_values = true,
        default_value = "warn"
    )]
    pub log_level: String,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// What can be asked.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look at everything a load needs: configuration, secrets, connections, staging, destination.
    Check,
    /// List the tables of a connection: size, key, columns that could be a cursor.
    Discover(DiscoverArgs),
    /// Say what would happen: window, slices, types, changes of the target. No run begins.
    Plan(JobsArgs),
    /// Run jobs here until they are done. What an earlier command left unfinished goes on where it stopped.
    Run(RunArgs),
    /// Read a job again: everything, or a range of its cursor.
    Reload(ReloadArgs),
    /// How far each job is, and how its last run ended.
    Status(JobsArgs),
    /// The runs of a job, or of all, newest first.
    Runs(RunsArgs),
    /// Everything about one run.
    Show(RunIdArgs),
    /// Go on with an unfinished run.
    Resume(ResumeArgs),
    /// Give an unfinished run up: its rows are taken out, and the next run reads the same window again.
    Abandon(AbandonArgs),
    /// Remove what no run and no reader needs any more.
    Clean(CleanArgs),
    /// Print the JSON Schema of the configuration file, for editors.
    Schema,
    /// Not in this version.
    #[command(hide = true)]
    Serve,
}

/// Some jobs.
#[derive(Debug, Args)]
pub struct JobsArgs {
    /// Names of jobs; none means all.
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
}

#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// The name of a connection.
    #[arg(value_name = "CONNECTION")]
    pub connection: String,
    /// Write a job for each table to this new file.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How messages are worked off here, and who is told.
#[derive(Debug, Args)]
pub struct WorkArgs {
    /// What is shown on the way: bars on a terminal, one JSON event a line elsewhere.
    #[arg(long, value_enum, value_name = "KIND", default_value_t = Progress::Auto)]
    pub progress: Progress,
    /// How many slices are read at a time; each takes up to 96 MiB of memory.
    #[arg(long = "jobs", value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub parallel: u16,
}

/// What is shown on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Progress {
    /// Bars on a terminal, JSON elsewhere.
    Auto,
    /// Bars, on standard error.
    Bars,
    /// One JSON event a line, on standard output.
    Json,
    /// Only the table at the end.
    None,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Names of jobs; none means all.
    #[arg(value_name = "JOB")]
    pub names: Vec<String>,
    /// Let this state feed a target that another state fed before. Needs one JOB and --from.
    #[arg(long, requires = "from", requires = "names")]
    pub take_over: bool,
    /// Where the former state stopped: the first run reads what lies above this cursor value.
    #[arg(long, value_name = "POSITION", requires = "take_over")]
    pub from: Option<String>,
    #[command(flatten)]
    pub work: WorkArgs,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true).args(["full", "from", "to"]))]
pub struct ReloadArgs {
    /// The job.
    #[arg(value_name = "JOB")]
    pub job: String,
    /// Read everything; the target is replaced in one commit.
    #[arg(long, conflicts_with_all = ["from", "to"])]
    pub full: bool,
    /// Read cursor values above this one.
    #[arg(long, value_name = "POSITION")]
    pub from: Option<String>,
    /// Read cursor values up to this one.
    #[arg(long, value_name = "POSITION")]
    pub to: Option<String>,
    /// Also where the target names other jobs, which feed it no more: their rows go. Needs --full.
    #[arg(long, requires = "full", conflicts_with_all = ["from", "to"])]
    pub take_over: bool,
    #[command(flatten)]
    pub work: WorkArgs,
}

#[derive(Debug, Args)]
pub struct RunsArgs {
    /// The job; none means all.
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
    /// How many of each job.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub limit: usize,
}

#[derive(Debug, Args)]
pub struct RunIdArgs {
    /// JOB/NUMBER, JOB for its newest run, or the whole id as it stands in the row tag.
    #[arg(value_name = "RUN")]
    pub run: String,
}

#[derive(Debug, Args)]
pub struct ResumeArgs {
    #[command(flatten)]
    pub run: RunIdArgs,
    #[command(flatten)]
    pub work: WorkArgs,
}

#[derive(Debug, Args)]
pub struct AbandonArgs {
    #[command(flatten)]
    pub run: RunIdArgs,
    /// Why, for the record.
    #[arg(long, value_name = "TEXT", default_value = "asked for on the command line")]
    pub reason: String,
    #[command(flatten)]
    pub work: WorkArgs,
}

#[derive(Debug, Args)]
pub struct CleanArgs {
    /// Names of jobs; none means all.
    #[arg(value_name = "JOB")]
    pub jobs: Vec<String>,
    /// Files younger than this stay, in days: a reader may still need them.
    #[arg(long, value_name = "DAYS", default_value_t = 7)]
    pub keep_days: u32,
    /// The documents of finished runs older than this are deleted, in days.
    #[arg(long, value_name = "DAYS", default_value_t = 90)]
    pub keep_runs_days: u32,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    /// Wide enough that no line breaks by accident of a terminal.
    fn help(of: &[&str]) -> String {
        let mut command = Cli::command().term_width(110);
        command.build();
        let mut at = &mut command;
        for name in of {
            at = at.find_subcommand_mut(name).expect("a command of that name");
        }
        let text = at.render_long_help().to_string();
        text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn help_reads_as_it_was_reviewed() {
        insta::assert_snapshot!("help", help(&[]));
        for name in ["run", "reload", "abandon", "discover"] {
            insta::assert_snapshot!(format!("help_{name}"), help(&[name]));
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "lakeward",
            "lakeward run --from 5",
            "lakeward run orders --take-over",
            "lakeward run --take-over --from 5",
            "lakeward reload orders",
            "lakeward reload orders --full --from 5",
            "lakeward reload orders --from 5 --take-over",
            "lakeward run --jobs 0",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
        for line in [
            "lakeward run a b --jobs 8",
            "lakeward reload a --from 1 --to 2",
            "lakeward reload a --full --take-over",
            "lakeward --json status -c x.toml",
        ] {
            Cli::try_parse_from(line.split(' ')).expect(line);
        }
    }
}
