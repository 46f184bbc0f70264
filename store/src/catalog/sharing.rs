//! Who may have what: which commits anybody may read, at which Hub, and whose a file is.

use super::hubs::Hubs;
use super::places::{Member, Places, now_seconds};
use super::proofs::{Proof, PublicProof};
use super::tables::Inner;
use super::{Catalog, Commit, FileId, places, proofs};
use crate::endpoint::Endpoint;
use crate::error::StoreError;
use crate::names::RepoId;
use std::time::SystemTime;
use zest_xet::Hash;

impl Catalog {
    /// Notes that a commit answered an anonymous request that was sent then: it may be shared for [`PROOF_LASTS`](super::PROOF_LASTS).
    ///
    /// # Errors
    /// The system's, when other processes cannot be told; for this one the answer counts all the same.
    pub fn prove_public(
        &self,
        hub: &Endpoint,
        repo: &RepoId,
        commit: &str,
        asked: SystemTime,
    ) -> Result<(), StoreError> {
        crate::names::check_commit(commit)?;
        let (member, proof) = (Member::new(Some(hub), repo, commit), Proof::new(asked));
        self.change_public(&member, |inner| inner.public.grant(member.clone(), proof));
        proofs::write(&self.root, &member, proof)?;
        self.write().public.saved(&member);
        Ok(())
    }

    /// Takes a public proof back, when the commit no longer answers anonymous requests. In this process it counts no more,
    /// whatever the disk says now or later.
    ///
    /// # Errors
    /// The system's, when other processes cannot be told.
    pub fn revoke_public(&self, hub: &Endpoint, repo: &RepoId, commit: &str) -> Result<(), StoreError> {
        crate::names::check_commit(commit)?;
        self.withdraw(&Member::new(Some(hub), repo, commit))
    }

    /// Takes back all public proofs of a repository.
    ///
    /// # Errors
    /// As [`Catalog::revoke_public`].
    pub fn revoke_repo(&self, hub: &Endpoint, repo: &RepoId) -> Result<(), StoreError> {
        let folder = repo.folder();
        let mut members = self.read().public.of(hub, &folder);
        members.extend(proofs::read_of(&self.root, hub, &folder).into_iter().map(|(member, _)| member));
        // All of them, whatever goes wrong with one.
        let written: Vec<_> = members.iter().map(|member| self.withdraw(member)).collect();
        written.into_iter().collect()
    }

    fn withdraw(&self, member: &Member) -> Result<(), StoreError> {
        self.change_public(member, |inner| inner.public.withdraw(member));
        self.watches.tell();
        proofs::remove(&self.root, member)
    }

    /// The Hub cannot be asked about a commit: the last answer counts for [`PROOF_LASTS_AT_MOST`](super::PROOF_LASTS_AT_MOST), in this process. Says until
    /// when it may be shared; `None` if there was no answer or it is too old even for that.
    pub fn stretch_public(&self, hub: &Endpoint, repo: &RepoId, commit: &str) -> Option<SystemTime> {
        let member = Member::new(Some(hub), repo, commit);
        self.look_for_proof(&member);
        self.change_public(&member, |inner| inner.public.stretch(&member));
        self.public_until(hub, repo, commit)
    }

    /// Until when a commit may be shared; `None` if there is no proof or it has expired.
    #[must_use]
    pub fn public_until(&self, hub: &Endpoint, repo: &RepoId, commit: &str) -> Option<SystemTime> {
        self.public_proof(hub, repo, commit).map(|proof| proof.until)
    }

    /// What is known of a commit, if it counts still.
    #[must_use]
    pub fn public_proof(&self, hub: &Endpoint, repo: &RepoId, commit: &str) -> Option<PublicProof> {
        let member = Member::new(Some(hub), repo, commit);
        let known = self.read().public.get(&member);
        if known.is_some() || !crate::is_commit(commit) {
            return known;
        }
        self.look_for_proof(&member);
        self.read().public.get(&member)
    }

    /// Which Hub this process is configured for, and which are as good as the public one. Without a word about it every Hub is
    /// our own.
    pub fn speak_for(&self, own: &Endpoint, mirrors: &[Endpoint]) {
        let mut inner = self.write();
        inner.hubs = Hubs::new(own.clone(), mirrors);
        inner.judge_all();
    }

    /// Whether what this Hub shows to everyone may be given to everyone.
    #[must_use]
    pub fn is_public_hub(&self, hub: &Endpoint) -> bool {
        self.read().hubs.is_public(hub)
    }

    /// Whether a file of which this Hub says that anyone may read it may be given to others: not if its bytes may have come
    /// from somewhere that did not say so.
    #[must_use]
    pub fn may_be_given(&self, file: &Hash, of: &Commit) -> bool {
        let Some(hub) = &of.hub else { return false };
        let mut members = Places::read(&self.root, file).members;
        places::add_member(&mut members, Member::new(Some(hub), &of.repo, &of.commit));
        let inner = self.read();
        let given = inner.given_until(&members);
        let until = if inner.hubs.is_public(hub) { given.all } else { given.near };
        proofs::is_current(until, now_seconds())
    }

    /// Whether bytes of this file may become part of one that this Hub lists. Not if another Hub keeps them closed: who knows the
    /// hashes of its chunks could list a file made of them, and have it given to everyone.
    #[must_use]
    pub fn may_lend(&self, file: FileId, to: &Endpoint) -> bool {
        let inner = self.read();
        if file.0 & FileId::ORIGINAL != 0 {
            // Nobody noted where these came from.
            return inner.hubs.is_public(to);
        }
        let number = (file.0 & !FileId::OWN) >> 1;
        let entry = inner.files.get(number as usize);
        entry.is_some_and(|entry| inner.hubs.may_lend(&entry.members, &inner.public, to))
    }

    /// A file that is here already was listed by a Hub that does not show it to everyone: it is not given to others unless
    /// that Hub says otherwise.
    ///
    /// # Errors
    /// The system's.
    pub fn note_owner(&self, file: &Hash, of: &Commit) -> Result<(), StoreError> {
        let member = Member::new(of.hub.as_ref(), &of.repo, &of.commit);
        let number = self.read().by_hash.get(file).copied();
        if let Some(number) = number {
            if self.read().files[number as usize].members.contains(&member) {
                return Ok(());
            }
            let mut inner = self.write();
            places::add_member(&mut inner.files[number as usize].members, member.clone());
            inner.judge(number as usize);
        }
        let _lock = self.lock_files()?;
        self.update_places(file, |places| places.add_members([member]))
    }

    /// A Hub was asked about a commit of which nobody knew whose it is: it is its own as far as these files go.
    ///
    /// # Errors
    /// The system's.
    pub fn attribute(
        &self,
        hub: &Endpoint,
        repo: &RepoId,
        commit: &str,
        files: &[Hash],
    ) -> Result<(), StoreError> {
        let of = Commit { hub: Some(hub.clone()), repo: repo.clone(), commit: commit.to_owned() };
        files.iter().try_for_each(|file| self.note_owner(file, &of))
    }

    /// Another process may have been answered.
    fn look_for_proof(&self, member: &Member) {
        if let Some(proof) = proofs::read(&self.root, member) {
            self.change_public(member, |inner| {
                inner.public.take_in(member, proof);
            });
        }
    }

    fn change_public(&self, member: &Member, change: impl FnOnce(&mut Inner)) {
        let mut inner = self.write();
        change(&mut inner);
        let concerned = (0..inner.files.len()).filter(|&number| inner.files[number].members.contains(member));
        concerned.for_each(|number| inner.judge(number));
    }
}
