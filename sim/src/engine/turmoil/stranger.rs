//! The stranger: reaches the bus, and means it no good.
//!
//! He holds a token that allows next to nothing, and tries everything else: other names, other keys, no token at all, and
//! bytes that are no protocol. Nothing that he gets back matters to him; what matters is judged by the properties, which
//! must not notice that he is there, and by `tokens_are_obeyed`.

use std::{sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    time::{sleep, timeout},
};

use super::{
    net::{BUS_PORT, connect},
    stage::{Life, Stage},
};
use crate::{cast, engine::setup};

/// Between two tries.
const PAUSE_MS: (u64, u64) = (5, 60);
/// How long he listens to the answer.
const PATIENCE: Duration = Duration::from_millis(60);
/// How long he holds a connection on which he says half of something: longer than anything waits for him.
const DAWDLES: Duration = Duration::from_secs(3);

/// Text, binary, ping: of WebSocket.
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;

/// Goes on until all is healed.
pub(super) async fn run(stage: Arc<Stage>, life: Arc<Life>) {
    let mut tries = 0_u64;
    while !stage.healed.load(std::sync::atomic::Ordering::Relaxed) {
        tries += 1;
        let identity = (life.number, tries);
        sleep(Duration::from_millis(stage.chance.between("stranger pauses", &identity, PAUSE_MS))).await;
        let Ok(Ok(mut stream)) =
            timeout(PATIENCE, connect(Arc::clone(&stage), Arc::clone(&life), cast::bus(), BUS_PORT)).await
        else {
            continue;
        };
        let attempt = Attempt::of(stage.chance.number("stranger tries", &identity), tries);
        // The bus may close at any byte of it.
        if stream.write_all(&attempt.opening).await.is_err() {
            continue;
        }
        if !attempt.says.is_empty() {
            listen(&mut stream).await;
            let _ = stream.write_all(&attempt.says).await;
        }
        if attempt.dawdles {
            let _ = timeout(DAWDLES, listen(&mut stream)).await;
        }
        listen(&mut stream).await;
    }
}

async fn listen(stream: &mut super::net::SimStream) {
    let mut heard = [0; 1_024];
    let _ = timeout(PATIENCE, stream.read(&mut heard)).await;
}

/// What he sends: at once, and after the first answer.
struct Attempt {
    opening: Vec<u8>,
    says: Vec<u8>,
    dawdles: bool,
}

impl Attempt {
    fn of(drawn: u64, number: u64) -> Self {
        let shown = [None, Some(setup::STRANGER), Some("nobody"), Some(setup::STRANGER)][(drawn >> 8) as usize % 4];
        let upgrade = request("GET /v1/bus", &upgrade_headers(shown), "");
        let publish = |event_type: &str, key: &str| {
            let id = format!("rumour-{number}-{drawn:x}");
            format!(
                "{{\"kind\":\"publish\",\"request\":{number},\"events\":[{{\"id\":\"{id}\",\"type\":\"{event_type}\",\"key\":\"{key}\",\"source\":\"stranger\"}}]}}"
            )
        };
        let hello = "{\"kind\":\"hello\",\"service\":\"accounts\",\"instance\":\"accounts-0\",\"incarnation\":1,\"types\":[],\"credit\":8}";
        let says = match drawn % 14 {
            0 => text(hello),
            1 => text(&publish("Rumour", "rumour-1")),
            2 => text(&publish("Rumour", "acc-1")),
            3 => text(&publish("ConfirmedCredit", "rumour-1")),
            4 => text("{\"kind\":\"rebuild\",\"request\":1,\"after\":0,\"types\":[],\"follow\":true,\"credit\":4}"),
            5 => text("{\"kind\":\"read\",\"request\":2,\"what\":{\"keys\":{}}}"),
            6 => text(&"[".repeat(2_000)),
            7 => frame(TEXT, &[0xFF, 0xFE, 0x00, 0xC3]),
            8 => frame(BINARY, b"none of this"),
            // The beginning of a message of a hundred megabytes.
            9 => [&[TEXT, 0xFF][..], &100_000_000_u64.to_be_bytes(), &[0; 4]].concat(),
            10 => return Self { opening: drawn.to_le_bytes().repeat(50), says: Vec::new(), dawdles: false },
            11 => {
                return Self {
                    opening: b"GET /v1/events HTTP/1.1\r\nhost: b".to_vec(),
                    says: Vec::new(),
                    dawdles: true,
                };
            }
            12 => {
                let opening = request("POST /v1/events", &authorization(shown), &publish("Rumour", "acc-1"));
                return Self { opening, says: Vec::new(), dawdles: false };
            }
            _ => {
                let skip = "POST /v1/services/accounts/lanes/acc-1/skip";
                return Self { opening: request(skip, &authorization(shown), ""), says: Vec::new(), dawdles: false };
            }
        };
        Self { opening: upgrade, says, dawdles: drawn.is_multiple_of(17) }
    }
}

fn request(line: &str, headers: &str, body: &str) -> Vec<u8> {
    format!("{line} HTTP/1.1\r\nhost: bus\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()).into_bytes()
}

fn authorization(shown: Option<&str>) -> String {
    shown.map(|name| format!("authorization: Bearer {}\r\n", setup::secret(name).reveal())).unwrap_or_default()
}

fn upgrade_headers(shown: Option<&str>) -> String {
    let rest = "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    format!("{}{rest}", authorization(shown))
}

fn text(text: &str) -> Vec<u8> {
    frame(TEXT, text.as_bytes())
}

/// A frame of WebSocket, masked with zeros, as clients must mask.
fn frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![opcode];
    match u16::try_from(payload.len()) {
        Ok(length @ 0..126) => bytes.push(0x80 | length as u8),
        Ok(length) => {
            bytes.push(0xFE);
            bytes.extend(length.to_be_bytes());
        }
        Err(_) => {
            bytes.push(0xFF);
            bytes.extend((payload.len() as u64).to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}
