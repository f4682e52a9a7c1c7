//! HTTP of the bank's page: routes, and what every answer has in common.
//!
//! Reading works without script, and so do the forms: a form is answered with the page that it leads to. The script sends the
//! same forms and asks for JSON instead. What changes something is a POST that bears a token of the visitor's; what only
//! reads is a GET.

mod answers;
mod deeds;
mod doorway;
mod live;
mod pages;
mod visitor;

pub(crate) use visitor::User;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse as _, Response},
    routing::{get, post},
};
use dacapo_core::{Timestamp, hooks::Clock};
use dacapo_reporting::server::{guarded, is_ours};
use tokio::sync::{Semaphore, watch};

use crate::{
    Books, Outcome,
    doors::Doors,
    limiter::{Limiter, Pace},
    secrets::Kept,
    teller::Teller,
    vault::Vault,
    weather::Weather,
};

/// A form has a dozen short fields.
const BODY_BYTES_MAX: usize = 16 << 10;
/// Pages that are told live at once.
const SOCKETS_MAX: usize = 1_024;
/// Outcomes that wait for the page that shows them, where there is no script.
const TOLD_MAX: usize = 10_000;

/// How the site is set up.
#[derive(Debug, Clone)]
pub struct SiteConfig {
    /// Where the viewer is, such as `http://127.0.0.1:7878`; payments link to it.
    pub viewer: Option<String>,
    /// What is told of faults, where they are let happen.
    pub weather: Option<Weather>,
    /// Whether people come over TLS: cookies are for it alone then.
    pub is_secure: bool,
    /// Names under which the page may be reached, besides `localhost` and addresses in digits.
    pub hosts: Vec<String>,
    /// Log-ins for one name.
    pub log_ins_of_name: Pace,
    /// Log-ins from one address.
    pub log_ins_of_address: Pace,
    /// Sign-ups from one address.
    pub sign_ups_of_address: Pace,
}

impl Default for SiteConfig {
    fn default() -> Self {
        Self {
            viewer: None,
            weather: None,
            is_secure: false,
            hosts: Vec::new(),
            // A person mistypes; a machine that guesses gets five a minute.
            log_ins_of_name: Pace { tries: 8, every: Duration::from_secs(12) },
            log_ins_of_address: Pace { tries: 30, every: Duration::from_secs(2) },
            sign_ups_of_address: Pace { tries: 20, every: Duration::from_secs(15) },
        }
    }
}

/// What the routes share.
pub struct Site {
    books: Arc<Books>,
    teller: Teller,
    vault: Vault,
    doors: Doors,
    config: SiteConfig,
    clock: Arc<dyn Clock>,
    log_ins_of_name: Limiter,
    log_ins_of_address: Limiter,
    sign_ups_of_address: Limiter,
    sockets: Arc<Semaphore>,
    /// Counts sessions that were ended, so that their sockets look whether it was theirs.
    left: watch::Sender<u64>,
    /// Counts the cuts of all live channels.
    cuts: watch::Sender<u64>,
    /// By session: what became of its last form, until its next page shows it.
    told: Mutex<BTreeMap<Kept, Outcome>>,
}

impl fmt::Debug for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Site").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Site {
    /// A site that shows these books, knows these people and asks at these doors.
    pub fn new(books: Arc<Books>, vault: Vault, doors: Doors, clock: Arc<dyn Clock>, config: SiteConfig) -> Arc<Self> {
        Arc::new(Self {
            teller: Teller::new(Arc::clone(&books), doors.clone()),
            books,
            vault,
            doors,
            clock,
            log_ins_of_name: Limiter::new(config.log_ins_of_name),
            log_ins_of_address: Limiter::new(config.log_ins_of_address),
            sign_ups_of_address: Limiter::new(config.sign_ups_of_address),
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            left: watch::Sender::new(0),
            cuts: watch::Sender::new(0),
            told: Mutex::default(),
            config,
        })
    }

    /// The routes. Serve them with the addresses of callers (`into_make_service_with_connect_info`).
    pub fn router(self: &Arc<Self>) -> Router {
        Router::new()
            .route("/", get(pages::home))
            .route("/accounts/{id}", get(pages::account))
            .route("/accounts/{id}/earlier", get(pages::earlier))
            .route("/init", get(pages::init))
            .route("/live", get(live::live))
            .route("/sign-up", post(doorway::sign_up))
            .route("/log-in", post(doorway::log_in))
            .route("/log-out", post(doorway::log_out))
            .route("/open", post(deeds::open))
            .route("/deposit", post(deeds::deposit))
            .route("/withdraw", post(deeds::withdraw))
            .route("/pay", post(deeds::pay))
            .route("/chaos/destroy", post(deeds::destroy))
            .route("/chaos/hold", post(deeds::hold))
            .route("/audit", get(pages::audit))
            .route("/bank.css", get(pages::style))
            .route("/bank.js", get(pages::script))
            .route("/healthz", get(pages::health))
            .fallback(pages::nowhere)
            .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
            .layer(from_fn_with_state(Arc::clone(self), admit))
            .with_state(Arc::clone(self))
    }

    /// Breaks every live channel, as a network would.
    pub fn cut(&self) {
        self.cuts.send_modify(|cuts| *cuts += 1);
    }

    fn now(&self) -> Timestamp {
        self.clock.now().monotonic
    }
}

/// Every answer says what the browser may do with it.
async fn admit(State(site): State<Arc<Site>>, request: Request, next: Next) -> Response {
    let response = match foreign(&site, request.headers()) {
        Some((status, sentence)) => (status, sentence).into_response(),
        None => next.run(request).await,
    };
    // What is for one visitor alone says so itself.
    let caching = response.headers().get(header::CACHE_CONTROL).cloned();
    let mut response = guarded(response);
    if let Some(caching) = caching {
        response.headers_mut().insert(header::CACHE_CONTROL, caching);
    }
    // Without it, the browser would not say where a form comes from.
    response.headers_mut().insert(header::REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    response
}

/// Why nobody is let in who comes under a foreign name, or from a page of another.
fn foreign(site: &Site, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let host = header(header::HOST).unwrap_or_default();
    if !is_ours(host, &site.config.hosts) {
        let told = "this page is not known under that name; use its address, or allow the name\n";
        return Some((StatusCode::MISDIRECTED_REQUEST, told));
    }
    // A browser says from which page a form or a socket comes; what is no browser says nothing, and has no cookie either.
    let origin = header(header::ORIGIN)?;
    let is_own = origin.split_once("://").is_some_and(|(_, origin)| origin.eq_ignore_ascii_case(host));
    (!is_own).then_some((StatusCode::FORBIDDEN, "this was sent by another site's page\n"))
}
