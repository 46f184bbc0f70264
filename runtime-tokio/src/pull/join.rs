//! A pull joins the errand for a file, or begins it.

use super::errand::{Errand, ErrandKey, Share};
use super::{Pull, Source, xet};
use crate::jobs::Counts;
use std::rc::Rc;
use zest_store::TreeEntry;

impl Pull {
    /// Joins the errand for a file, or begins it.
    pub(super) fn share(self: &Rc<Self>, key: ErrandKey, entry: &TreeEntry) -> Rc<Share> {
        let context = &self.context;
        let known = context.pulls.errands.borrow().get(&key).cloned();
        let began = known.is_none();
        let errand = known.unwrap_or_else(|| {
            let errand = Rc::new(Errand::new());
            context.pulls.errands.borrow_mut().insert(key.clone(), errand.clone());
            tokio::task::spawn_local(xet::run(self.clone(), errand.clone(), key, entry.clone()));
            errand
        });
        errand.join(self);
        let of_job = || errand.job.borrow().as_ref().map(|job| Source::UnderWay(job.file.clone()));
        self.control.reads(entry, of_job);
        let before = match &*errand.job.borrow() {
            Some(job) => {
                self.figures.has_job(job.file.id);
                job.counts.all()
            }
            None => Counts::default(),
        };
        errand.wish(context);
        Rc::new(Share::new(self, errand, entry.path.clone(), began, before))
    }
}
