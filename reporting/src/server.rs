//! The viewer's HTTP: reads only, on loopback unless asked otherwise, and to nobody who came by a foreign name.
//!
//! Pages are made by threads of their own, each with its own connections to the files; what is async here only waits. A
//! request is refused whose `Host` is a name that was not given: a page of a stranger that has its name point here would
//! otherwise read what is shown (DNS rebinding). Addresses in digits cannot be borrowed that way.

use std::{
    convert::Infallible,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, mpsc},
    thread,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use dacapo_core::{Position, store::StoreError};
use futures_util::stream;
use tokio::{
    net::TcpListener,
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::sleep,
};

use crate::{
    ask::Ask,
    site::{Live, Reply, Shown, Site},
};

/// Threads that make pages: one that is slow does not hold up the next.
const THREADS: usize = 2;
/// Pages that follow the log at once; each asks twice a second.
const FOLLOWERS_MAX: usize = 64;
/// Between two looks whether the log has grown.
const LIVE_EVERY: Duration = Duration::from_millis(500);
/// Nothing from elsewhere, nothing inline, no frames, no forms but ours.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Why the viewer cannot run.
#[derive(Debug, thiserror::Error)]
pub enum ViewError {
    /// What is to be shown cannot be opened.
    #[error("{0}")]
    Store(#[from] StoreError),
    /// Threads or sockets.
    #[error("the viewer cannot go on: {0}; free some resources and start it again")]
    Io(#[from] io::Error),
}

enum Job {
    Page(Ask, oneshot::Sender<Reply>),
    Live(Ask, Position, oneshot::Sender<Option<Live>>),
}

/// Who serves.
#[derive(Clone)]
struct Desk {
    jobs: mpsc::Sender<Job>,
    hosts: Arc<[String]>,
    followers: Arc<Semaphore>,
}

/// Makes the routes. `hosts` are names under which the viewer may be reached, besides `localhost` and addresses in digits.
pub fn router(shown: Shown, hosts: Vec<String>) -> Result<Router, ViewError> {
    let shown = Arc::new(shown);
    let (jobs, queue) = mpsc::channel::<Job>();
    let queue = Arc::new(Mutex::new(queue));
    for number in 0..THREADS {
        let mut site = Site::open(Arc::clone(&shown))?;
        let queue = Arc::clone(&queue);
        thread::Builder::new().name(format!("viewer-{number}")).spawn(move || work(&mut site, &queue))?;
    }
    let desk = Desk { jobs, hosts: hosts.into(), followers: Arc::new(Semaphore::new(FOLLOWERS_MAX)) };
    Ok(Router::new().fallback(answer).with_state(desk))
}

/// Serves until the future is dropped.
pub async fn serve(listener: TcpListener, routes: Router) -> Result<(), ViewError> {
    axum::serve(listener, routes).await?;
    Ok(())
}

/// Takes jobs until nobody can give one any more. Whoever asked may have gone meanwhile.
fn work(site: &mut Site, queue: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        match job {
            Ok(Job::Page(ask, reply)) => drop(reply.send(site.answer(&ask))),
            Ok(Job::Live(ask, after, reply)) => drop(reply.send(site.live(&ask, after).ok())),
            Err(mpsc::RecvError) => return,
        }
    }
}

async fn answer(State(desk): State<Desk>, request: Request) -> Response {
    let host = request.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    if !is_ours(host, &desk.hosts) {
        let told = "this viewer is not known under that name; use its address, or allow the name with --host\n";
        return guarded((StatusCode::MISDIRECTED_REQUEST, told).into_response());
    }
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return guarded((StatusCode::METHOD_NOT_ALLOWED, "the viewer only reads: use GET\n").into_response());
    }
    let target = request.uri().path_and_query().map_or("/", axum::http::uri::PathAndQuery::as_str);
    let Some(ask) = Ask::parse(target) else {
        return guarded((StatusCode::BAD_REQUEST, "the address is not UTF-8\n").into_response());
    };
    if ask.path == ["live"] {
        return guarded(follow(desk, ask));
    }
    let (reply, answered) = oneshot::channel();
    let sent = desk.jobs.send(Job::Page(ask, reply));
    match (sent, answered.await) {
        (Ok(()), Ok(reply)) => guarded(response(reply)),
        _ => guarded(
            (StatusCode::INTERNAL_SERVER_ERROR, "the viewer's threads are gone; start it again\n").into_response(),
        ),
    }
}

/// Whether a `Host` may be answered: digits, `localhost`, or a name that was given.
pub fn is_ours(host: &str, hosts: &[String]) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let name = name.trim_start_matches('[').trim_end_matches(']');
    name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|own| own.eq_ignore_ascii_case(name))
}

fn response(reply: Reply) -> Response {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, [(header::CONTENT_TYPE, reply.kind.media_type())], reply.body).into_response();
    if let Some(location) = reply.location.and_then(|location| HeaderValue::from_str(&location).ok()) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    if reply.kind.is_download() {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    }
    response
}

/// Says to the browser what the page may do, whatever it was given to show.
pub fn guarded(mut response: Response) -> Response {
    let headers: [(HeaderName, &'static str); 5] = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-cache"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in headers {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Rows as they come, until the page is closed.
fn follow(desk: Desk, ask: Ask) -> Response {
    let Ok(permit) = Arc::clone(&desk.followers).try_acquire_owned() else {
        return (StatusCode::SERVICE_UNAVAILABLE, "too many pages follow the log; close some\n").into_response();
    };
    let after = Position(ask.get("after").and_then(|text| text.parse().ok()).unwrap_or(0));
    let begin = Following { desk, ask, after, _permit: permit };
    let rows = stream::unfold(begin, |mut following| async move {
        let live = following.next().await?;
        following.after = live.reached;
        // A carriage return, which a payload may hold between its parts, cannot be sent this way.
        let data = live.rows.concat().replace('\r', " ");
        let event = Event::default().event("rows").id(live.reached.to_string()).data(data);
        Some((Ok::<_, Infallible>(event), following))
    });
    Sse::new(rows).keep_alive(KeepAlive::default()).into_response()
}

struct Following {
    desk: Desk,
    ask: Ask,
    after: Position,
    _permit: OwnedSemaphorePermit,
}

impl Following {
    /// Waits for rows; none when the store can no longer be read.
    async fn next(&mut self) -> Option<Live> {
        loop {
            let (reply, answered) = oneshot::channel();
            self.desk.jobs.send(Job::Live(self.ask.clone(), self.after, reply)).ok()?;
            let live = answered.await.ok()??;
            if !live.rows.is_empty() {
                return Some(live);
            }
            let idle = live.reached == self.after;
            self.after = live.reached;
            if idle {
                sleep(LIVE_EVERY).await;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_and_given_names_are_answered() {
        let hosts = ["view.example".to_owned()];
        for host in ["127.0.0.1:7878", "127.0.0.1", "[::1]:7878", "localhost:7878", "LOCALHOST", "view.example:80"] {
            assert!(is_ours(host, &hosts), "{host}");
        }
        for host in ["", "evil.example", "localhost.evil.example:7878", "127.0.0.1.evil.example", "view.example.evil"] {
            assert!(!is_ours(host, &hosts), "{host}");
        }
    }
}
