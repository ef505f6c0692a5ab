//! Reads one slice, stages it and seals its manifest; the first attempt wins.

use crate::error::{Error, Result};
use crate::model::manifest::Manifest;
use crate::model::message::{Delivery, Message, Outgoing};
use crate::model::run::{LoadStatus, RunDocument, Slice, SliceBounds, SliceId};
use crate::model::watermark::RunId;
use crate::report::EventKind;
use crate::source::{ReadOrder, ReadRequest};
use crate::stage::StageRequest;
use crate::state::Written;

use super::Services;
use super::load_window;
use super::staged::{Staged, slice_of};

/// One `Extract`: a sealed slice, and what follows from it: its rest, or `Finish` when all is sealed.
pub(super) async fn extract(
    id: &RunId,
    slice: &SliceId,
    delivery: &Delivery,
    services: &Services,
) -> Result<Vec<Outgoing>> {
    let Some(run) = services.state.run(id).await? else {
        return Ok(vec![]);
    };
    let run = run.value;
    if run.load.status != LoadStatus::Open {
        return Ok(vec![]);
    }
    let manifest = match services.state.manifest(id, slice).await? {
        Some(sealed) => sealed,
        None => {
            let Some(slice) = slice_of(&services.state, &run, slice).await? else {
                return Ok(vec![]);
            };
            stage(&run, &slice, delivery, services).await?
        }
    };
    if manifest.rest_after.is_some() {
        return Ok(vec![
            Message::Extract {
                run: id.clone(),
                slice: manifest.slice.rest(),
            }
            .into(),
        ]);
    }
    Ok(if Staged::is_complete(&services.state, &run).await? {
        vec![load_window::finish(&run, services).await?]
    } else {
        vec![]
    })
}

/// Reads and writes the slice, and seals what was written, or returns what another attempt sealed before.
async fn stage(run: &RunDocument, slice: &Slice, delivery: &Delivery, services: &Services) -> Result<Manifest> {
    let (id, plan) = (&run.id, &run.plan);
    let doing = |e: Error| e.while_doing(format!("cannot extract slice {} of run {id}", slice.id));
    let can_stop = delivery.deadline.is_some() && plan.read.slice_key.is_some() && slice.bounds != SliceBounds::Null;
    let order = if can_stop {
        ReadOrder::BySliceKey
    } else {
        ReadOrder::Any
    };
    let request = ReadRequest {
        plan,
        slice,
        order,
        batch_bytes: services.stager.batch_bytes(),
        label: format!("lakeward {id} {}", slice.id),
    };
    services.reporter.tell(
        &id.job,
        Some(id.run),
        EventKind::SliceStarted {
            slice: slice.id.clone(),
        },
    );
    let place = services.loader.staging(id, &plan.target).map_err(doing)?;
    let stream = services
        .source(&plan.read.connection)?
        .read(&request)
        .await
        .map_err(doing)?;
    let stop_at = delivery
        .deadline
        .filter(|_| can_stop)
        .map(|d| d - services.host.stop_margin);
    let request = StageRequest {
        run: id,
        plan,
        slice,
        attempt: &delivery.attempt,
        store: &place.store,
        folder: &place.folder,
        columns: place.columns,
        stop_at,
    };
    let progress = |rows: u64, bytes: u64| {
        let slice = slice.id.clone();
        services
            .reporter
            .tell(&id.job, Some(id.run), EventKind::SliceProgress { slice, rows, bytes });
    };
    let manifest = services
        .stager
        .write(&request, stream, &progress)
        .await
        .map_err(doing)?;
    let manifest = match services.state.seal(id, &manifest).await? {
        Written::Won(sealed) => sealed.value,
        // Another attempt sealed it first: ours are files that nobody names.
        Written::Lost(Some(sealed)) => sealed.value,
        // The run's documents were cleaned meanwhile: it ended long ago.
        Written::Lost(None) => manifest,
    };
    tell_sealed(id, &manifest, services);
    Ok(manifest)
}

fn tell_sealed(id: &RunId, manifest: &Manifest, services: &Services) {
    let sealed = EventKind::SliceSealed {
        slice: manifest.slice.clone(),
        rows: manifest.rows,
        bytes: manifest.files.iter().map(|f| f.bytes).sum(),
        files: manifest.files.len() as u64,
        duration_ms: manifest.duration_ms,
        has_rest: manifest.rest_after.is_some(),
    };
    services.reporter.tell(&id.job, Some(id.run), sealed);
}
