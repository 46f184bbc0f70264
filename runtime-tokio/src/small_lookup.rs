//! Small files outside Xet that peers ask for: found in memory, or in the cache.

use crate::context::Context;
use crate::small::Asked;
use std::rc::Rc;
use zest_core::link::{Body, PlainKey};
use zest_core::node::Event;
use zest_core::wire::zest::plain_part_len;
use zest_core::{BufId, LinkId, ReqId};
use zest_store::Access;

/// A peer asks for a part of a small file.
pub(crate) fn look_up(
    context: &Rc<Context>,
    (link, req): (LinkId, ReqId),
    key: PlainKey,
    size: u32,
    offset: u32,
) {
    let access = context.access_of(link);
    let asked = Asked { link, req, access, size, offset };
    let find = move |context: &Context, asked: &Asked| {
        context.small.find(&context.disk.store.catalog, &context.held, &key, asked)
    };
    if let Some(id) = find(context, &asked) {
        return located(context, asked, Some(id));
    }
    let Some(etag) = key.etag() else { return located(context, asked, None) };
    let what = (key, size, access == Access::Near);
    if !context.small.waits(what, asked) {
        return;
    }
    let context = context.clone();
    tokio::task::spawn_local(async move {
        let read = {
            let _turn = context.small.turn().await;
            let store = context.disk.store.clone();
            let read = move || store.catalog.small_file(&store.cache, &etag, size.into(), access);
            tokio::task::spawn_blocking(read).await.ok().flatten()
        };
        if let Some(file) = read {
            context.small.keep(&context.held, key, file);
        }
        for asked in context.small.waited(what) {
            located(&context, asked, find(&context, &asked));
        }
    });
}

fn located(context: &Rc<Context>, asked: Asked, id: Option<BufId>) {
    let Asked { link, req, size, offset, .. } = asked;
    let len = plain_part_len(size, offset);
    let body = id.zip(len).map(|(id, len)| Body::Buf { id, offset, len });
    context.event(Event::PlainLocated { link, req, body });
}
