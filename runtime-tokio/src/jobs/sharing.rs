//! Who may be given what is proven of a job's file.

use crate::disk::Disk;
use std::fs::File;
use std::sync::Arc;
use zest_core::JobId;
use zest_store::{Access, Endpoint, Partial};

pub(crate) struct Sharing {
    /// Whether others may be given it.
    pub(crate) shared: bool,
    /// Of them only those who speak of the same Hub.
    pub(crate) near: bool,
    /// The Hub that lists it.
    pub(crate) hub: Option<Endpoint>,
    /// The partial file as peers read it: the same file still when it has its final name.
    _partial: Option<Arc<File>>,
}

impl Sharing {
    /// With nobody.
    pub(crate) fn none(hub: Option<Endpoint>) -> Self {
        Self { shared: false, near: false, hub, _partial: None }
    }

    /// With all, or with those who are `near`.
    pub(crate) fn of(near: bool, hub: Option<Endpoint>, disk: &Disk, id: JobId, partial: &Partial) -> Self {
        Self { shared: true, near, hub, _partial: disk.open_partial(id, partial) }
    }

    /// Whether somebody of this kind may be given it.
    pub(crate) fn covers(&self, access: Access) -> bool {
        self.shared && (!self.near || access == Access::Near)
    }
}
