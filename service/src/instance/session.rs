//! The connection to the bus: connect, `hello`, `welcome`, heartbeats, and coming back.
//!
//! An instance never ends because the bus went away. Whatever goes wrong with a connection (refused, silent, an error
//! frame, an overdue answer) has one cure: close it, wait, connect again, and resume what is unfinished.

use std::time::Duration;

use dacapo_core::{
    Timestamp,
    digest::digest_of,
    wire::{self, Bye, ErrorCode, FromBus, Hello, Ping, Ready, Welcome},
};

use super::{Instance, Output};
use crate::service::Service;

/// How long a bus may take to answer `hello`: as long as its default heartbeat deadline.
const WELCOME_DEADLINE: Duration = Duration::from_secs(5);

/// The connection as the instance sees it.
#[derive(Debug, Clone)]
pub(super) enum Link {
    /// Not started.
    Idle,
    /// There is none; the next attempt is due.
    Down { until: Timestamp },
    /// The driver opens one.
    Connecting,
    /// `hello` is said.
    Greeting { until: Timestamp },
    /// The bus said `welcome`.
    Up(Session),
    /// The process was asked to end.
    Ended,
}

/// A session that the bus granted.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) welcome: Welcome,
    heard_at: Timestamp,
    said_at: Timestamp,
    /// When it is asked next whether both sides have said enough lately.
    ping_at: Timestamp,
    pub(super) ready: bool,
}

impl Session {
    fn heartbeat_deadline(&self) -> Duration {
        Duration::from_millis(self.welcome.heartbeat_deadline_ms.max(1))
    }

    /// Something was sent.
    pub(super) fn said(&mut self, now: Timestamp) {
        self.said_at = now;
    }

    /// Whether a ping is due: for a third of the deadline, one of the two sides has said nothing. Other frames that went
    /// both ways meanwhile are as good as a ping and its answer; then it is asked again when they are that old.
    fn needs_ping(&mut self, now: Timestamp) -> bool {
        let third = self.heartbeat_deadline() / 3;
        let quiet_at = self.said_at.min(self.heard_at) + third;
        let needed = quiet_at <= now;
        self.ping_at = if needed { now + third } else { quiet_at };
        needed
    }

    pub(super) fn delivery_deadline(&self) -> Duration {
        Duration::from_millis(self.welcome.delivery_deadline_ms.max(2))
    }
}

/// The link, and how often in a row it could not be made.
#[derive(Debug, Clone)]
pub(super) struct Line {
    pub(super) link: Link,
    pub(super) attempts: u32,
    nonce: u64,
}

impl Line {
    pub(super) fn new() -> Self {
        Self { link: Link::Idle, attempts: 0, nonce: 0 }
    }

    pub(super) fn session(&self) -> Option<&Session> {
        match &self.link {
            Link::Up(session) => Some(session),
            _ => None,
        }
    }

    pub(super) fn is_up(&self) -> bool {
        self.session().is_some()
    }

    /// When the link itself wants to be woken; `asked_at` is the oldest open question.
    pub(super) fn due(&self, asked_at: Option<Timestamp>) -> Option<Timestamp> {
        match &self.link {
            Link::Idle | Link::Connecting | Link::Ended => None,
            Link::Down { until } | Link::Greeting { until } => Some(*until),
            Link::Up(session) => {
                let silent_at = session.heard_at + session.heartbeat_deadline();
                let overdue_at = asked_at.map(|asked_at| asked_at + session.delivery_deadline());
                Some(session.ping_at.min(silent_at).min(overdue_at.unwrap_or(silent_at)))
            }
        }
    }
}

impl<S: Service> Instance<S> {
    pub(super) fn started(&mut self) {
        assert!(matches!(self.line.link, Link::Idle), "an instance starts once");
        self.connect();
    }

    fn connect(&mut self) {
        self.line.link = Link::Connecting;
        self.outputs.push_back(Output::Connect);
    }

    pub(super) fn connected(&mut self) {
        if !matches!(self.line.link, Link::Connecting | Link::Down { .. }) {
            return;
        }
        self.line.link = Link::Greeting { until: self.now.monotonic + WELCOME_DEADLINE };
        self.send(Hello {
            service: self.name.clone(),
            instance: self.config.name.clone(),
            incarnation: self.config.incarnation,
            types: self.types.clone(),
            start: self.service.start(),
            credit: self.config.credit,
            bearer: self.config.bearer.clone(),
        });
    }

    pub(super) fn disconnected(&mut self) {
        if matches!(self.line.link, Link::Connecting | Link::Greeting { .. } | Link::Up(_)) {
            self.lose_session();
            self.back_off(false);
        }
    }

    /// Gives this connection up and comes back later; `longest` when coming back soon is pointless.
    pub(super) fn hang_up(&mut self, longest: bool) {
        self.outputs.push_back(Output::Close);
        self.lose_session();
        self.back_off(longest);
    }

    /// Doubles from `reconnect_first` to `reconnect_max`; the second half of each wait is jitter, which depends on seed
    /// and attempt alone.
    fn back_off(&mut self, longest: bool) {
        let max = self.config.reconnect_max.max(Duration::from_millis(1));
        let doubled = self.config.reconnect_first.saturating_mul(1 << self.line.attempts.min(20));
        let wait = if longest { max } else { doubled.clamp(Duration::from_millis(1), max) };
        self.line.attempts = self.line.attempts.saturating_add(1);
        let half_us = u64::try_from(wait.as_micros() / 2).unwrap_or(u64::MAX);
        let jitter_us = digest_of(self.config.seed, &self.line.attempts) % (half_us + 1);
        self.line.link = Link::Down { until: self.now.monotonic + Duration::from_micros(half_us + jitter_us) };
    }

    /// What rested on the connection ends with it.
    fn lose_session(&mut self) {
        self.questions.clear();
        self.deliveries.lose_session();
        self.fetches.lose_session();
        self.queries.lose_session();
        self.lose_requests_session();
        self.view.lose_session();
        self.rebuild.lose_session();
        self.reconcile.lose_session();
    }

    /// Only for frames that matter before `welcome`; returns the frame if a session must take it.
    pub(super) fn frame_of_session(&mut self, frame: FromBus) -> Option<FromBus> {
        match (&mut self.line.link, frame) {
            (Link::Up(session), frame) => {
                session.heard_at = self.now.monotonic;
                Some(frame)
            }
            (Link::Greeting { .. }, FromBus::Welcome(welcome)) => {
                self.welcomed(welcome);
                None
            }
            (Link::Greeting { .. }, FromBus::Error(error)) => {
                self.hang_up(is_lasting(error.code));
                None
            }
            (Link::Greeting { .. }, FromBus::Closing(_)) => {
                self.hang_up(false);
                None
            }
            _ => None,
        }
    }

    fn welcomed(&mut self, welcome: Welcome) {
        let now = self.now.monotonic;
        let mut session = Session { welcome, heard_at: now, said_at: now, ping_at: now, ready: false };
        session.ping_at = now + session.heartbeat_deadline() / 3;
        self.line.link = Link::Up(session);
        self.line.attempts = 0;
        self.follow_view();
        self.ask_completions_again();
        self.resume_requests();
        self.reconcile_later();
        // What was decided and asked before goes out ahead of `ready`, so that the bus knows it when it delivers.
        self.work();
        if !self.rebuild_begins() {
            self.ready();
        }
    }

    pub(super) fn ready(&mut self) {
        if let Link::Up(session) = &mut self.line.link
            && !session.ready
        {
            session.ready = true;
            self.send(Ready {});
        }
    }

    /// An `error` frame on a session. One that names a question which nobody asks any more is old news.
    pub(super) fn error(&mut self, error: &wire::Error) {
        let passing = matches!(error.code, ErrorCode::Unavailable | ErrorCode::LimitReached);
        match error.request.map(|number| (number, self.questions.purpose(number).cloned())) {
            Some((_, None)) => {}
            Some((number, Some(super::Purpose::Publish(id)))) if !passing => {
                self.questions.end(number);
                self.answer_error(
                    id,
                    500,
                    &format!("the bus did not take the events: {}; {}", error.message, error.help),
                );
            }
            _ if error.code == ErrorCode::NotFound => {}
            _ => self.hang_up(is_lasting(error.code)),
        }
    }

    pub(super) fn tick_line(&mut self) {
        let now = self.now.monotonic;
        let overdue = |session: &Session, asked_at: Timestamp| asked_at + session.delivery_deadline() <= now;
        match &mut self.line.link {
            Link::Down { until } if *until <= now => self.connect(),
            Link::Greeting { until } if *until <= now => self.hang_up(false),
            Link::Up(session) => {
                if session.heard_at + session.heartbeat_deadline() <= now
                    || self.questions.oldest().is_some_and(|asked_at| overdue(session, asked_at))
                {
                    self.hang_up(false);
                } else if session.ping_at <= now {
                    if session.needs_ping(now) {
                        self.line.nonce += 1;
                        let nonce = self.line.nonce;
                        self.send(Ping { nonce });
                    }
                    self.record_sizes();
                }
            }
            Link::Idle | Link::Down { .. } | Link::Connecting | Link::Greeting { .. } | Link::Ended => {}
        }
    }

    pub(super) fn shut_down(&mut self) {
        if matches!(self.line.link, Link::Ended) {
            return;
        }
        if self.line.is_up() {
            self.send(Bye {});
        }
        if !matches!(self.line.link, Link::Idle | Link::Down { .. }) {
            self.outputs.push_back(Output::Close);
        }
        self.lose_session();
        self.line.link = Link::Ended;
        self.refuse_requests("the instance is shutting down; repeat the request");
        self.outputs.push_back(Output::Exit);
    }
}

/// Whether coming back soon is pointless: somebody must change something first.
fn is_lasting(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::TypesDiffer
            | ErrorCode::Unauthorized
            | ErrorCode::Forbidden
            | ErrorCode::Reserved
            | ErrorCode::Malformed
            | ErrorCode::UnknownKind
            | ErrorCode::TooLarge
            | ErrorCode::OutOfTurn
    )
}
