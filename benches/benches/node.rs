//! What deciding costs: events of a node among 256 peers, fetching and serving.
#![allow(missing_docs, reason = "criterion's macros write functions without documentation")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use zest_benches::crowd::{CHUNKS, Crowd, manifest};

/// Events that are measured at once.
const EVENTS: u64 = 100_000;

fn events(c: &mut Criterion) {
    let manifest = manifest(CHUNKS);
    let handled = Crowd::new(&manifest).run(EVENTS);
    let mut group = c.benchmark_group("node");
    group.throughput(Throughput::Elements(handled)).sample_size(20);
    group.bench_function("events among 256 peers", |b| {
        b.iter_batched_ref(|| Crowd::new(&manifest), |crowd| crowd.run(EVENTS), BatchSize::PerIteration);
    });
    group.finish();
}

criterion_group!(benches, events);
criterion_main!(benches);
