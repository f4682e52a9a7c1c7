//! Opening a connection to the bus: the stream by a [`Connect`], the WebSocket over it here.

use std::{future::Future, io, time::Duration};

use dacapo_core::{limits, wire};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        client::IntoClientRequest,
        http::{HeaderValue, header::SEC_WEBSOCKET_PROTOCOL},
        protocol::WebSocketConfig,
    },
};

/// How long connecting may take, the WebSocket's greeting included: a host that swallows packets never says no.
pub const CONNECT_DEADLINE: Duration = Duration::from_secs(5);

/// Bytes read at a time. An instance has one connection with small frames; the library's own 128 KiB cost more to
/// clear than they save.
const READ_BUFFER_BYTES: usize = 4 << 10;

/// How to reach the bus.
pub trait Connect: Send + Sync {
    /// The stream.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// Opens a stream. The driver gives it a deadline.
    fn connect(&self) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// What stands in the `Host` header: `name` or `name:port`.
    fn host(&self) -> &str;
}

/// Reaches the bus over TCP.
#[derive(Debug, Clone)]
pub struct TcpConnect {
    address: String,
}

impl TcpConnect {
    /// The bus at this `host:port`; the name is resolved at each attempt.
    pub fn new(address: impl Into<String>) -> Self {
        Self { address: address.into() }
    }
}

impl Connect for TcpConnect {
    type Io = TcpStream;

    async fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(&self.address).await?;
        // Frames are small and each is awaited by somebody.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn host(&self) -> &str {
        &self.address
    }
}

/// Opens the stream and the WebSocket within [`CONNECT_DEADLINE`]; says in a sentence why not.
pub(super) async fn open<C: Connect>(connector: &C) -> Result<WebSocketStream<C::Io>, String> {
    let greet = async {
        let io = connector.connect().await.map_err(|error| error.to_string())?;
        let url = format!("ws://{}{}", connector.host(), wire::PATH);
        let mut request = url.into_client_request().map_err(|error| error.to_string())?;
        request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(wire::SUBPROTOCOL));
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(0)
            .max_message_size(Some(limits::FRAME_BYTES_MAX))
            .max_frame_size(Some(limits::FRAME_BYTES_MAX));
        let greeted = client_async_with_config(request, io, Some(config)).await;
        greeted.map(|(socket, _)| socket).map_err(|error| error.to_string())
    };
    match tokio::time::timeout(CONNECT_DEADLINE, greet).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer within {} s", CONNECT_DEADLINE.as_secs())),
    }
}
