//! Prepared: what many ask of one snapshot, made once.
//!
//! A snapshot never changes, so that everybody who reads an SLO of it, or asks for the verdict on a service, gets the
//! same bytes. The first one makes them; they go with the snapshot, at the next tick. This is no cache: nothing in it
//! can be older than the snapshot that is answered from, and nothing of it is used where a request's own time matters.

use std::sync::OnceLock;

use axum::body::Bytes;
use axum::http::StatusCode;

use crate::engine::Board;
use crate::spec::{Catalog, ServiceId, SloId};
use crate::time::Timestamp;

/// What has been made of a snapshot so far.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    slos: OnceLock<Each<Bytes>>,
    verdicts: OnceLock<Each<(StatusCode, Bytes)>>,
    calm_before: OnceLock<Timestamp>,
}

/// By SLO or service, what has been made.
type Each<T> = Box<[OnceLock<T>]>;

impl Prepared {
    /// The body of an SLO, which `make` makes.
    pub(super) fn slo(&self, catalog: &Catalog, id: SloId, make: impl FnOnce() -> Bytes) -> Bytes {
        self.slos.get_or_init(|| empty(catalog.slos.len()))[id.0].get_or_init(make).clone()
    }

    /// The verdict on an ordinary change of a service, which `make` makes.
    pub(super) fn verdict(
        &self,
        catalog: &Catalog,
        id: ServiceId,
        make: impl FnOnce() -> (StatusCode, Bytes),
    ) -> (StatusCode, Bytes) {
        self.verdicts.get_or_init(|| empty(catalog.services.len()))[id.0].get_or_init(make).clone()
    }

    /// The first instant at which the board, if it is the newest still, would say too much: a gate's board is too old
    /// for it, or an unfreeze has ended.
    pub(super) fn calm_before(&self, catalog: &Catalog, board: &Board) -> Timestamp {
        *self.calm_before.get_or_init(|| {
            let too_old =
                catalog.services.iter().map(|service| board.at.plus_millis(service.policy.stale_after_ms + 1));
            let ended = board.gates.iter().filter_map(|decision| decision.until());
            too_old.chain(ended).min().unwrap_or(Timestamp::from_millis(i64::MAX))
        })
    }
}

fn empty<T>(length: usize) -> Each<T> {
    std::iter::repeat_with(OnceLock::new).take(length).collect()
}
