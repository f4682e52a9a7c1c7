//! A connection to the bus: frames in and out, batched both ways.

use anyhow::{Context as _, anyhow, bail};
use dacapo_core::{
    access::Secret,
    limits,
    wire::{self, FromBus, ToBus},
};
use dacapo_service::driver::{BusConnect, BusStream, Connect as _};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message,
        client::IntoClientRequest as _,
        http::{
            HeaderValue,
            header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL},
        },
        protocol::WebSocketConfig,
    },
};

/// A connection.
pub(super) struct Connection {
    socket: WebSocketStream<BusStream>,
    /// Frames that go out together.
    batch: Vec<u8>,
    frames: usize,
}

impl Connection {
    pub(super) async fn open(bus: &BusConnect, secret: Option<&Secret>) -> anyhow::Result<Self> {
        let address = bus.host();
        let stream = bus
            .connect()
            .await
            .with_context(|| format!("there is no bus at {address}; start one with `dacapo serve`"))?;
        let mut request = format!("ws://{address}{}", wire::PATH).into_client_request()?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(wire::SUBPROTOCOL));
        if let Some(secret) = secret {
            let value = HeaderValue::from_str(&format!("Bearer {}", secret.reveal()));
            request.headers_mut().insert(AUTHORIZATION, value.context("a token is text")?);
        }
        let config = WebSocketConfig::default()
            .read_buffer_size(16 << 10)
            .max_message_size(Some(limits::FRAME_BYTES_MAX))
            .max_frame_size(Some(limits::FRAME_BYTES_MAX));
        let (socket, _) = client_async_with_config(request, stream, Some(config))
            .await
            .with_context(|| format!("what listens at {address} is no bus, or does not let this in"))?;
        Ok(Self { socket, batch: Vec::new(), frames: 0 })
    }

    /// Puts a frame to those that go out together.
    pub(super) fn put(&mut self, frame: impl Into<ToBus>) {
        self.batch.push(if self.frames == 0 { b'[' } else { b',' });
        frame.into().encode_to(&mut self.batch);
        self.frames += 1;
    }

    /// Sends what was put.
    pub(super) async fn send(&mut self) -> anyhow::Result<()> {
        if self.frames == 0 {
            return Ok(());
        }
        self.batch.push(b']');
        let text = String::from_utf8(std::mem::take(&mut self.batch)).context("frames are text")?;
        self.frames = 0;
        self.socket.send(Message::text(text)).await.context("the bus closed the connection")
    }

    /// The next frames; mistakes that the bus tells of are this program's.
    pub(super) async fn receive(&mut self) -> anyhow::Result<Vec<FromBus>> {
        loop {
            match self.socket.next().await {
                Some(Ok(Message::Text(text))) => {
                    let frames = FromBus::decode(&text)?;
                    for frame in &frames {
                        match frame {
                            FromBus::Error(error) => bail!("the bus says: {}; {}", error.message, error.help),
                            FromBus::Closing(closing) => bail!("the bus ends the connection: {}", closing.reason),
                            _ => {}
                        }
                    }
                    return Ok(frames);
                }
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(Err(error)) => return Err(anyhow!(error).context("the connection to the bus broke")),
                _ => bail!("the bus closed the connection"),
            }
        }
    }
}
