//! Following the log live, as server-sent events.
//!
//! The stream is pulled: a page is read when the last one has been written, and between pages the follower waits for
//! the log to grow. So a slow follower holds one page and nothing else, and no event is ever dropped for it.

use std::{collections::VecDeque, convert::Infallible, sync::Arc};

use axum::{
    http::HeaderMap,
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use dacapo_core::{event::Event, names::Position, store::Query};
use futures_util::stream;

use super::{
    HttpError,
    fields::{Fields, of_number},
};
use crate::server::{
    accept::Permit,
    shared::{Phase, Shared},
};

/// Events that a follower holds at most.
const PAGE_EVENTS: usize = 128;

/// Streams the events of `query`: after `Last-Event-ID`, else after the cursor, else from now on.
pub(super) fn stream(
    shared: Arc<Shared>,
    permit: Permit,
    fields: &Fields,
    query: Query,
    headers: &HeaderMap,
) -> Result<Response, HttpError> {
    for field in ["limit", "order", "until"] {
        if fields.has(field) {
            return Err(HttpError::bad(format!("a stream has no {field:?}"), "leave it out, or do not follow"));
        }
    }
    let resumed = match headers.get("last-event-id").map(|id| id.to_str().unwrap_or_default()) {
        None | Some("") => None,
        Some(id) => Some(Position(of_number("Last-Event-ID", id)?)),
    };
    let now = shared.position.get();
    let follower = Follower {
        after: resumed.or(query.cursor).unwrap_or(now),
        query,
        page: VecDeque::new(),
        failed: false,
        permit,
        shared,
    };
    let interval = follower.shared.config.limits.heartbeat_deadline / 3;
    let events = stream::unfold(follower, |mut follower| async {
        let event = follower.next().await?;
        Some((Ok::<_, Infallible>(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(interval)).into_response())
}

struct Follower {
    shared: Arc<Shared>,
    permit: Permit,
    query: Query,
    /// Everything up to here has been looked at.
    after: Position,
    page: VecDeque<Arc<Event>>,
    failed: bool,
}

impl Follower {
    /// The next event; none when the stream ends.
    async fn next(&mut self) -> Option<sse::Event> {
        loop {
            if !self.shared.access.may_read(&self.shared, &self.permit.speaker) {
                return None;
            }
            if let Some(event) = self.page.pop_front() {
                return Some(encode(&event));
            }
            if self.failed || matches!(self.shared.phase(), Phase::Closing | Phase::Dead) {
                return None;
            }
            let after = self.after;
            tokio::select! {
                biased;
                () = self.shared.closing() => return None,
                _ = self.shared.position.until(|position| *position > after) => {}
            }
            let query = Query { cursor: Some(after), limit: PAGE_EVENTS, ..self.query.clone() };
            match self.shared.port.query(query).await {
                Ok(answer) => {
                    // Without a next page, everything up to where the log ended has been looked at.
                    self.after = answer.next.unwrap_or(answer.read_at).max(after);
                    self.page = answer.events.into();
                }
                Err(error) => {
                    self.failed = true;
                    let error = HttpError::from(error);
                    return Some(sse::Event::default().event("error").data(one_line(error.message())));
                }
            }
        }
    }
}

fn encode(event: &Event) -> sse::Event {
    let text = serde_json::to_string(event).unwrap_or_default();
    sse::Event::default().id(event.position.to_string()).data(one_line(&text))
}

/// A payload keeps the text that it came as, line breaks between its tokens included; within JSON strings there are
/// none.
fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}
