//! Time limits on others, of which only the time counts in which this process was run.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// A limit is counted in pieces of this: 250 ms. Ours; a pause of the whole process, however long, counts as one.
const PIECE: Duration = Duration::from_millis(250);
/// A piece that ends so much late has ended unheard, because the process was not run: 20 ms, as in `zest_core::lived`.
const LATE: Duration = Duration::from_millis(20);
/// Where the last piece ended so, what has come meanwhile is given this long to be looked at: 100 ms, as there.
const CATCH_UP: Duration = Duration::from_millis(100);

/// What `what` gives, or `None` if it gave nothing for `limit` of the time in which this process was run. A host that was
/// asleep, frozen or starved has heard nothing of anybody meanwhile, and may not call them silent.
pub async fn within<F: Future>(limit: Duration, what: F) -> Option<F::Output> {
    let mut what = pin!(what);
    let (mut left, mut caught_up) = (limit, false);
    loop {
        let piece = left.min(PIECE);
        let end = Instant::now() + piece;
        if let Ok(output) = timeout_at(end, &mut what).await {
            return Some(output);
        }
        left -= piece;
        if left.is_zero() {
            let late = Instant::now().saturating_duration_since(end) > LATE;
            if caught_up || !late {
                return None;
            }
            (left, caught_up) = (CATCH_UP, true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    /// The thread that this runs on does nothing else for so long.
    fn freeze(pause: Duration) {
        std::thread::sleep(pause);
    }

    #[tokio::test]
    async fn an_answer_that_came_while_the_process_was_not_run_is_heard() {
        let (to, from) = oneshot::channel();
        let (asked, was_asked) = std::sync::mpsc::channel::<()>();
        // Somebody who answers after a while, on a thread that is run; it hands the answer over when this one goes on.
        let other = tokio::spawn(async move {
            was_asked.recv().expect("it is asked");
            freeze(Duration::from_millis(700));
            tokio::task::yield_now().await;
            tokio::time::sleep(Duration::from_millis(30)).await;
            to.send(7).expect("somebody waits");
        });
        asked.send(()).expect("it listens");
        assert_eq!(within(Duration::from_millis(300), from).await, Some(Ok(7)));
        other.await.expect("it ends");
    }

    #[tokio::test]
    async fn silence_ends_when_its_time_has_come() {
        for limit in [0, 1, 250, 251].map(Duration::from_millis) {
            let began = Instant::now();
            assert_eq!(within(limit, std::future::pending::<()>()).await, None);
            assert!(began.elapsed() >= limit, "not before");
        }
    }

    #[tokio::test]
    async fn what_is_there_is_given_at_once() {
        assert_eq!(within(Duration::ZERO, async { 3 }).await, Some(3));
    }
}
