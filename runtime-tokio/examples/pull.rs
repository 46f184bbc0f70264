//! Pulls a model and shows how far it is.
//!
//! ```text
//! zest hub --root DIR --port 8080 &
//! HF_ENDPOINT=http://127.0.0.1:8080 cargo run -p zest-runtime-tokio --example pull -- ORG/NAME [PEER…]
//! ```

use futures_util::StreamExt as _;
use zest_runtime_tokio::{PullEvent, PullRequest, Session, SessionConfig};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().ok_or("name a model: ORG/NAME")?;
    let session = Session::start(SessionConfig::from_process()?).await?;
    let pull = session.pull(PullRequest::model(&name)?.peers(args.collect()));
    let mut events = pull.progress();
    while let Some(event) = events.next().await {
        match event {
            PullEvent::Progress(now) => eprintln!("{} of {} bytes", now.bytes_done, now.bytes_total),
            PullEvent::File(file) => eprintln!("{}: {}", file.path, file.how.as_str()),
            PullEvent::Notice(notice) => eprintln!("note: {}", notice.text),
            _ => {}
        }
    }
    let report = pull.wait().await?;
    eprintln!("{} bytes from peers, {} from the CDN", report.from_peers, report.from_cdn);
    println!("{}", report.path.display());
    session.shutdown().await;
    Ok(())
}
