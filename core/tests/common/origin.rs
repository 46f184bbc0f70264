//! What the origin of [`super`] gives, and when it fails.

use super::*;

impl World {
    /// What the origin of a job has to say if it is out.
    pub(super) fn outage(&self, job: JobId) -> Option<OriginFault> {
        let (from, until, fault) = self.tasks[&job].origin.as_ref()?.out.clone()?;
        (from..until).contains(&self.elapsed()).then_some(fault)
    }

    /// The origin's next chunk of a block.
    pub(super) fn stream(&mut self, job: JobId, block: u32, number: u32, at: u32) {
        let outage = self.outage(job);
        let streams: usize = self.tasks.values().map(|task| task.fetches.len()).sum();
        let task = self.tasks.get_mut(&job).unwrap();
        if task.fetches.get(&block) != Some(&number) || !self.streams {
            return;
        }
        let origin = task.origin.as_mut().expect("the origin is used");
        let run = task.file.blocks()[block as usize].runs[0];
        let (first, count) = (run.first, run.count);
        let planned = origin.faults.get(&number).cloned();
        let always =
            origin.faults_from.clone().filter(|(from, _)| number >= *from).map(|(_, fault)| (0, fault));
        let fault = planned.or(always).filter(|(after, _)| at >= *after).map(|(_, fault)| fault).or(outage);
        if at == count || fault.is_some() {
            task.fetches.remove(&block);
            self.handle(Event::OriginEnded { job, block, fault });
            return;
        }
        let index = first + at;
        let sharing = if origin.one_line { streams.max(1) as u32 } else { 1 };
        let chunk_time = origin.chunk_time * sharing;
        task.streamed += 1;
        if self.node.needs(job, index) {
            let source = Source::Origin;
            let wrong = origin.wrong.get_mut(&index).is_some_and(|left| {
                let wrong = *left > 0;
                *left = left.saturating_sub(1);
                wrong
            });
            let event = match wrong {
                true => Event::ChunkBad { job, index, source },
                false => Event::ChunkDone { job, index, source },
            };
            self.happen(Happening::Disk { job, event });
        }
        self.later(chunk_time, Happening::Fetch { job, block, number, at: at + 1 });
    }
}
