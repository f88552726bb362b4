//! How long requests took, read while the owner is at work already.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, RwLock};

use crate::api::Access;
use crate::engine::NotKept;
use crate::run::kept_for;
use crate::run::owner::Owner;
use crate::spec::{Catalog, SloId};
use crate::store::{Memory, ReadDurations, Store, StoreError, Writer, restore_counts};
use crate::time::{Clock, Horizon, SystemClock, by_hand};

fn catalog() -> Arc<Catalog> {
    let engine = "[[source]]\nname = \"lb\"\n[source.file]\npaths = [\"log\"]\n\
                  nginx = '$remote_addr [$time_local] \"$request\" $status $request_time'\n[gate]\non_unknown = \"deny\"\n";
    let story = "[story]\nname = \"shop\"\n[[slo]]\nname = \"up\"\nobjective = 99.0\n[slo.availability]\nsource = \"lb\"\n\
                 requests = [\"GET /\"]\n";
    Arc::new(
        crate::spec::load_texts("specs".as_ref(), &[("slogate.toml", engine), ("shop.toml", story)]).unwrap().catalog,
    )
}

#[test]
fn durations_that_could_not_be_read_are_read_again_and_nothing_is_told_before() {
    let (catalog, store) = (catalog(), Arc::new(Memory::new()) as Arc<dyn Store>);
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let (engine, loaded, _) = restore_counts(&*store, Arc::clone(&catalog), kept_for(&catalog), clock.now()).unwrap();
    let (now, stop) = (Arc::new(RwLock::new(clock.now())), Arc::new(AtomicBool::new(false)));
    let (writer, access) = (Writer::new(store.clone(), loaded.revision), Access::new(catalog.server.listen, None));
    let (mut owner, _snapshots) = Owner::new(engine, writer, store, clock, now, stop, access);
    let told = |owner: &Owner| {
        owner.engine.latency_at(SloId(0), Horizon::of_minutes(60), owner.engine.now()).map(|spread| spread.requests)
    };
    let failing: ReadDurations = Box::new(|_| Err(StoreError::Failed { path: "gone".into() }));
    owner.durations = Some(std::thread::spawn(move || failing(&mut |_| ()).map(|()| unreachable!("it fails"))));
    by_hand::pass_ms(1);
    while owner.durations.is_some() {
        owner.turn();
        assert_eq!(told(&owner), Err(NotKept::BeingRead));
    }
    owner.turn();
    assert!(owner.durations.is_none(), "it waits for a while");
    by_hand::pass_ms(1_000);
    owner.turn();
    while owner.durations.is_some() {
        owner.turn();
    }
    assert_eq!(told(&owner), Ok(0));
}
