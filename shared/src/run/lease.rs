//! One committer a target at a time, for economy: no run is unsafe without it (rule 14). It also keeps the MERGEs of two
//! jobs apart, as long as their calls are alive: jobs that share a target have keys of their own (rule 7).

use crate::error::Result;
use crate::model::run::RunDocument;
use crate::state::{Lease, Versioned, Written};

use super::Services;

/// Longer than any single call to a warehouse; a holder that died delays the next run by this much at most.
const LEASE: chrono::TimeDelta = chrono::TimeDelta::seconds(90);

/// Takes the lease of the run's target, or finds that another run holds it.
///
/// The run holds it, not the call: a call that died must not keep the next one of the same run waiting.
pub(super) async fn take(services: &Services, run: &RunDocument) -> Result<Option<Versioned<Lease>>> {
    let (now, target) = (services.clock.now(), run.plan.target.clone());
    let read = services.state.lease(&target).await?;
    let holder = run.id.to_string();
    if read
        .as_ref()
        .is_some_and(|l| l.value.until > now && l.value.holder != holder)
    {
        return Ok(None);
    }
    let lease = Lease {
        target,
        holder,
        until: now + LEASE,
    };
    match services.state.take_lease(read.as_ref(), &lease).await? {
        Written::Won(won) => Ok(Some(won)),
        Written::Lost(_) => Ok(None),
    }
}

/// Gives back the lease of a run that was given up, so that the target's other runs need not wait until it runs out.
pub(super) async fn let_go(services: &Services, run: &RunDocument) {
    match services.state.lease(&run.plan.target).await {
        Ok(Some(held)) if held.value.holder == run.id.to_string() => give_back(services, held).await,
        Ok(_) => {}
        Err(e) => tracing::debug!("could not look for the lease of {}: {e}", run.plan.target),
    }
}

/// Best effort: a lease that is not given back makes the next run wait until it runs out.
pub(super) async fn give_back(services: &Services, held: Versioned<Lease>) {
    let free = Lease {
        until: services.clock.now(),
        ..held.value.clone()
    };
    if let Err(e) = services.state.take_lease(Some(&held), &free).await {
        tracing::debug!("could not give the lease of {} back: {e}", free.target);
    }
}
