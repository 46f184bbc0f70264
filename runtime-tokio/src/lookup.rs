//! What peers ask for, looked up in the catalog (only what may be shared), and manifests that came from peers.

use crate::context::Context;
use crate::disk::Disk;
use crate::workers::Work;
use bytes::Bytes;
use std::rc::Rc;
use std::sync::Arc;
use zest_core::link::{Body, ManifestPart, Outgoing};
use zest_core::node::{BitSet, Event, ManifestPlace};
use zest_core::wire::xet::{Dialect, RANGE_DATA_BYTES_MAX};
use zest_core::wire::zest::MANIFEST_PART_RECORDS_MAX;
use zest_core::{FileId, JobId, LinkId, Location};
use zest_store::{Access, Catalog, Endpoint};
use zest_xet::{ChunkHeader, ChunkRef, Hash, MANIFEST_RECORD_BYTES, Manifest, Scheme};

/// Records of a list of `total` that one answer has, if any.
fn part(first: u32, count: u32, total: u32) -> Option<u32> {
    let count = count.min(MANIFEST_PART_RECORDS_MAX).min(total.checked_sub(first)?);
    (count > 0).then_some(count)
}

/// A chunk list in wire form.
fn to_records(chunks: &[ChunkRef]) -> Bytes {
    let mut out = Vec::with_capacity(chunks.len() * MANIFEST_RECORD_BYTES);
    for chunk in chunks {
        out.extend_from_slice(chunk.hash.as_bytes());
        out.extend_from_slice(&chunk.len.to_be_bytes());
    }
    out.into()
}

impl Disk {
    /// Where a chunk lies that may be shared: as is known of one in memory, else as the catalog says.
    pub(crate) fn locate_chunk(&self, hash: &Hash, access: Access) -> Option<Location> {
        if let Some(place) = self.locate_hot(hash, access) {
            return Some(place);
        }
        let found = self.store.catalog.locate(hash, access)?;
        Some(Location { file: FileId(found.file.0), offset: found.offset, len: found.len })
    }

    pub(crate) fn locate_file(&self, file: &Hash, access: Access) -> (u32, Vec<(u32, u32)>) {
        match self.store.catalog.manifest(file, access) {
            // Its chunk list may outlive a file: then it is known, but nothing of it is here.
            Some(found) if self.store.catalog.data(file, access).is_none() => (found.count, Vec::new()),
            Some(found) if found.count > 0 => (found.count, vec![(0, found.count)]),
            _ => (0, Vec::new()),
        }
    }

    /// Chunks of a xorb for a zest 0.4 peer, which expects them serialised: our files hold them uncompressed, so each
    /// gets a header of scheme "none" before its range. An original cache file is sent as it lies.
    pub(crate) fn locate_xorb(&self, req: u32, xorb: Hash, access: Access, start: u32, end: u32) -> Outgoing {
        let none = Outgoing::NotFound { req, hash: xorb, dialect: Dialect::Range };
        if let Some(found) = self.store.catalog.original_xorb(&xorb, start..end, access)
            && found.len <= RANGE_DATA_BYTES_MAX
            && self.open(FileId(found.file.0)).is_some()
        {
            let len = found.len as u32;
            let body = Body::File(Location { file: FileId(found.file.0), offset: found.offset, len });
            return Outgoing::XorbBytes { req, xorb, start: found.first, body, len };
        }
        let chunks = match start < end {
            true => self.store.catalog.xorb_range(&xorb, start..end, access),
            false => None,
        };
        let Some(chunks) = chunks else {
            // The original looks among single chunks too, and sends what it finds as it is, whatever range was named.
            return match self.locate_chunk(&xorb, access) {
                Some(place) => {
                    Outgoing::XorbBytes { req, xorb, start: 0, body: Body::File(place), len: place.len }
                }
                None => none,
            };
        };
        let bytes: u64 = chunks.iter().map(|c| u64::from(c.len) + ChunkHeader::BYTES as u64).sum();
        if bytes > RANGE_DATA_BYTES_MAX || chunks.iter().any(|c| self.open(FileId(c.file.0)).is_none()) {
            return none;
        }
        let parts = chunks
            .iter()
            .map(|c| {
                let header = ChunkHeader { packed_len: c.len, scheme: Scheme::None, len: c.len };
                let place = Location { file: FileId(c.file.0), offset: c.offset, len: c.len };
                (header.encode(), Body::File(place))
            })
            .collect();
        Outgoing::XorbRange { req, xorb, start, parts }
    }
}

impl Context {
    pub(crate) fn locate_manifest(
        &self,
        file: &Hash,
        access: Access,
        first: u32,
        count: u32,
    ) -> Option<ManifestPlace> {
        let Some(found) = self.disk.store.catalog.manifest(file, access) else {
            return self.locate_list(file, access, first, count);
        };
        let count = part(first, count, found.count)?;
        let record = MANIFEST_RECORD_BYTES as u64;
        let records = Location {
            file: FileId(found.records.0),
            offset: found.records_offset + u64::from(first) * record,
            len: count * MANIFEST_RECORD_BYTES as u32,
        };
        self.disk.open(records.file)?;
        let records = Body::File(records);
        Some(ManifestPlace {
            part: ManifestPart { file_size: found.size, total: found.count, first, count },
            records,
        })
    }

    /// A list of a job under way, of its file or of one of its xorbs. It is put into wire form once.
    fn locate_list(&self, hash: &Hash, access: Access, first: u32, count: u32) -> Option<ManifestPlace> {
        let jobs = self.jobs.all();
        jobs.values().filter(|job| job.sharing.covers(access)).find_map(|job| {
            let manifest = job.file.manifest.get().filter(|manifest| manifest.file() == *hash);
            let listed = if manifest.is_some() { None } else { job.lists.of_xorb(hash) };
            let chunks = manifest.map(|manifest| manifest.chunks()).or(listed.as_deref())?;
            let total = u32::try_from(chunks.len()).ok()?;
            let count = part(first, count, total)?;
            let id = job.lists.records(*hash, || self.held.keep_records(to_records(chunks)));
            let record = MANIFEST_RECORD_BYTES as u32;
            let records = Body::Buf { id, offset: first.checked_mul(record)?, len: count * record };
            let file_size = chunks.iter().map(|chunk| u64::from(chunk.len)).sum();
            Some(ManifestPlace { part: ManifestPart { file_size, total, first, count }, records })
        })
    }
}

/// Places of missing chunks in other files of this machine, for a file that this Hub lists.
fn local_places(
    catalog: &Catalog,
    hub: Option<&Endpoint>,
    manifest: &Manifest,
    held: &BitSet,
) -> Vec<(u32, Location)> {
    (0..manifest.len())
        .filter(|index| !held.contains(*index))
        .filter_map(|index| {
            let chunk = manifest.chunk(index);
            let found = catalog.locate(&chunk.hash, Access::Own).filter(|f| f.len == chunk.len)?;
            hub.is_none_or(|hub| catalog.may_lend(found.file, hub)).then_some(())?;
            Some((index, Location { file: FileId(found.file.0), offset: found.offset, len: found.len }))
        })
        .collect()
}

/// Proves a manifest that a peer sent, on a worker, and tells the node what of the file is already there.
pub(crate) async fn prove_manifest(context: Rc<Context>, id: JobId, link: LinkId, records: Vec<u8>) {
    let Some(job) = context.jobs.get(id) else { return };
    let (file, size) = (job.file.file, job.file.size);
    let (to, proven) = tokio::sync::oneshot::channel();
    context.disk.push(Work::Task(Box::new(move || {
        let _ = to.send(Manifest::parse(file, size, &records));
    })));
    match proven.await {
        Ok(Ok(manifest)) => adopt_manifest(&context, id, Arc::new(manifest)).await,
        Ok(Err(error)) => {
            tracing::warn!(%error, link = link.0, "a peer's manifest does not prove");
            context.event(Event::ManifestBad { job: id, link });
        }
        Err(_) => {}
    }
}

/// Makes a proven manifest the measure of a job.
pub(crate) async fn adopt_manifest(context: &Rc<Context>, id: JobId, manifest: Arc<Manifest>) {
    let Some(job) = context.jobs.get(id) else { return };
    let file = job.file.clone();
    file.set_manifest(manifest.clone());
    job.news.notify_waiters();
    crate::peer_range::judge_doubts(context, id, &job, &manifest);
    let store = context.disk.store.clone();
    let (unchecked, hub) = (job.unchecked(), job.sharing.hub.clone());
    let (to, found) = tokio::sync::oneshot::channel();
    context.disk.push(Work::Task(Box::new({
        let manifest = manifest.clone();
        move || {
            // Chunks that came before the list was known count only if the list names them; those of an earlier process are
            // looked at first.
            let mut held = BitSet::empty(manifest.len());
            for index in file.held(manifest.len()) {
                held.insert(index);
            }
            let table = file.table.lock().expect("no holder panics");
            let named = |&(index, place): &(u32, Location)| {
                let chunk = (index < manifest.len()).then(|| manifest.chunk(index));
                chunk.is_some_and(|chunk| table.get(index).is_some_and(|seen| seen.chunk == chunk))
                    && place.offset == manifest.offset(index)
                    && !held.contains(index)
            };
            let mut local: Vec<(u32, Location)> = unchecked.into_iter().filter(named).collect();
            drop(table);
            let mut known = held.clone();
            local.iter().for_each(|(index, _)| {
                known.insert(*index);
            });
            local.extend(local_places(&store.catalog, hub.as_ref(), &manifest, &known));
            let _ = to.send((held, local));
        }
    })));
    if let Ok((held, local)) = found.await {
        context.event(Event::JobManifest { job: id, manifest, held, local });
    }
}
