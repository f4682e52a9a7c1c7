//! The live channel: a WebSocket over which a user is told what changes of theirs, as it enters the log.
//!
//! A page says up to which position of the log it knows everything. It is told the news after it, one by one; or, when some
//! of them are not kept any more, everything. So a page that was cut off misses nothing. Nothing is queued for a page: what
//! it is told is read from the books when its connection has room.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::{
        Query, State, WebSocketUpgrade,
        ws::{Message, WebSocket},
    },
    http::StatusCode,
    response::{IntoResponse as _, Response},
};
use dacapo_bank::ids::UserId;
use dacapo_core::Position;
use serde::{Deserialize, Serialize};
use tokio::time::{interval, sleep};

use super::{Site, visitor::Visitor};
use crate::{
    ledger::{News, View},
    secrets::Kept,
    weather::Report,
};

/// Changes that come together are told together.
const GATHER: Duration = Duration::from_millis(25);
/// A sign of life, by which a page knows that its connection holds; and a look whether the session does.
const SIGN: Duration = Duration::from_secs(10);
/// A page sends nothing but signs of its own.
const MESSAGE_BYTES_MAX: usize = 1_024;

#[derive(Deserialize)]
pub(super) struct Asked {
    /// The position up to which the page knows everything; 0: nothing.
    #[serde(default)]
    after: u64,
}

/// What a page is told.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Told<'a> {
    /// Everything.
    State(View),
    /// What has changed.
    News { position: Position, news: Vec<News> },
    /// The books are being made anew; what the page shows may be old.
    Reading,
    /// Faults.
    Weather(&'a Report),
    /// The connection holds.
    Here,
    /// The session has ended.
    Ended,
}

pub(super) async fn live(
    State(site): State<Arc<Site>>,
    visitor: Visitor,
    Query(asked): Query<Asked>,
    upgrade: WebSocketUpgrade,
) -> Response {
    let Ok(user) = visitor.user() else { return upgrade.on_upgrade(turn_away) };
    let user = user.id.clone();
    let Ok(permit) = Arc::clone(&site.sockets).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages are open; close some\n").into_response();
    };
    let kept = visitor.secret.kept();
    upgrade.max_message_size(MESSAGE_BYTES_MAX).on_upgrade(async move |socket| {
        let _permit = permit;
        let mut channel =
            Channel { site, user, kept, socket, life: None, at: Position(asked.after), is_reading: false };
        // Whoever closes the page ends it this way.
        let _ = channel.run().await;
    })
}

/// Tells a page that its session has ended: a handshake that is refused would not say why.
async fn turn_away(mut socket: WebSocket) {
    let text = serde_json::to_string(&Told::Ended).expect("what is told can be JSON");
    // Whoever has gone needs not be told.
    let _ = socket.send(Message::text(text)).await;
}

struct Channel {
    site: Arc<Site>,
    user: UserId,
    kept: Kept,
    socket: WebSocket,
    /// The life of the books that the page was told of; none before it was told anything.
    life: Option<u64>,
    /// The page knows everything up to here.
    at: Position,
    is_reading: bool,
}

/// The connection or the session has ended.
struct Over;

impl Channel {
    async fn run(&mut self) -> Result<(), Over> {
        let mut moved = self.site.books.watch();
        let mut left = self.site.left.subscribe();
        let mut cuts = self.site.cuts.subscribe();
        let mut weather = self.site.config.weather.as_ref().map(crate::weather::Weather::watch);
        let mut signs = interval(SIGN);
        moved.mark_changed();
        if let Some(reports) = &mut weather {
            reports.mark_changed();
        }
        loop {
            tokio::select! {
                biased;
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(Over),
                    Some(Ok(_)) => {}
                },
                Ok(()) = cuts.changed() => return Err(Over),
                Ok(()) = left.changed() => self.look_at_session().await?,
                Ok(()) = moved.changed() => {
                    sleep(GATHER).await;
                    moved.mark_unchanged();
                    self.tell_changes().await?;
                }
                Some(report) = report(&mut weather) => self.tell(&Told::Weather(&report)).await?,
                _ = signs.tick() => {
                    self.look_at_session().await?;
                    self.tell(&Told::Here).await?;
                }
            }
        }
    }

    async fn look_at_session(&mut self) -> Result<(), Over> {
        if matches!(self.site.vault.who(self.kept).await, Ok(None)) {
            self.tell(&Told::Ended).await?;
            return Err(Over);
        }
        Ok(())
    }

    async fn tell_changes(&mut self) -> Result<(), Over> {
        let (user, at, known) = (&self.user, self.at, self.life);
        let read = self.site.books.read(|life, ledger| {
            let is_other = known.is_some_and(|known| known != life);
            let news =
                if is_other || at == Position::ZERO || at > ledger.position() { None } else { ledger.news(user, at) };
            let told = match news {
                Some(news) => Told::News { position: ledger.position(), news },
                None => Told::State(ledger.view(user)),
            };
            (life, ledger.position(), told)
        });
        let Some((life, position, told)) = read else {
            if !std::mem::replace(&mut self.is_reading, true) {
                self.tell(&Told::Reading).await?;
            }
            return Ok(());
        };
        self.is_reading = false;
        self.life = Some(life);
        self.at = position;
        match &told {
            Told::News { news, .. } if news.is_empty() => Ok(()),
            told => self.tell(told).await,
        }
    }

    async fn tell(&mut self, told: &Told<'_>) -> Result<(), Over> {
        let text = serde_json::to_string(told).expect("what is told can be JSON");
        self.socket.send(Message::text(text)).await.map_err(|_| Over)
    }
}

async fn report(weather: &mut Option<tokio::sync::watch::Receiver<Report>>) -> Option<Report> {
    let Some(reports) = weather else { return std::future::pending().await };
    if reports.changed().await.is_err() {
        // The demo is ending; nothing more will be told.
        *weather = None;
        return None;
    }
    Some(reports.borrow_and_update().clone())
}
