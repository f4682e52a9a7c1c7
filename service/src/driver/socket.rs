//! An open WebSocket: what was queued goes out while what comes is awaited, so that a peer which does not read never
//! keeps the machine from its timers.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_util::{Sink, Stream};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{Message, Utf8Bytes},
};

/// What came.
#[derive(Debug)]
pub(super) enum Heard {
    /// A text message.
    Text(Utf8Bytes),
    /// The connection has ended, for this reason.
    Ended(String),
}

pub(super) struct Socket<Io> {
    stream: WebSocketStream<Io>,
    /// The driver's number of the connection.
    pub(super) connection: u64,
    /// Bounded by what the machine may have open at once.
    queue: VecDeque<Message>,
    flushed: bool,
}

impl<Io: AsyncRead + AsyncWrite + Unpin> Socket<Io> {
    pub(super) fn new(stream: WebSocketStream<Io>, connection: u64) -> Self {
        Self { stream, connection, queue: VecDeque::new(), flushed: true }
    }

    /// Hands a frame to the network, or queues it if the network does not take it now.
    pub(super) async fn send(&mut self, text: String) {
        self.queue.push_back(Message::text(text));
        self.flushed = false;
        self.write_what_goes().await;
    }

    /// Says goodbye as far as that goes without waiting.
    pub(super) async fn close(mut self) {
        self.queue.push_back(Message::Close(None));
        self.flushed = false;
        self.write_what_goes().await;
    }

    /// Waits until everything queued is out.
    pub(super) async fn flush(&mut self) {
        // An error is the end of the connection, which is what follows anyway.
        let _ = poll_fn(|context| self.poll_write(context)).await;
    }

    /// The next thing that comes; writes meanwhile. May be dropped and called again at any time.
    pub(super) async fn hear(&mut self) -> Heard {
        poll_fn(|context| self.poll_hear(context)).await
    }

    async fn write_what_goes(&mut self) {
        poll_fn(|context| {
            // An error shows again when the socket is read.
            let _ = self.poll_write(context);
            Poll::Ready(())
        })
        .await;
    }

    fn poll_hear(&mut self, context: &mut Context<'_>) -> Poll<Heard> {
        loop {
            match Pin::new(&mut self.stream).poll_next(context) {
                Poll::Ready(Some(Ok(Message::Text(text)))) => return Poll::Ready(Heard::Text(text)),
                Poll::Ready(Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)))) => {}
                Poll::Ready(Some(Ok(Message::Binary(_)))) => return ended("the bus sent a binary message"),
                Poll::Ready(Some(Ok(Message::Close(_))) | None) => return ended("the bus closed the connection"),
                Poll::Ready(Some(Err(error))) => return ended(&error),
                Poll::Pending => break,
            }
        }
        match self.poll_write(context) {
            Poll::Ready(Err(reason)) => ended(&reason),
            Poll::Ready(Ok(())) | Poll::Pending => Poll::Pending,
        }
    }

    fn poll_write(&mut self, context: &mut Context<'_>) -> Poll<Result<(), String>> {
        let sentence = |error: tokio_tungstenite::tungstenite::Error| error.to_string();
        while !self.queue.is_empty() {
            match Pin::new(&mut self.stream).poll_ready(context) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(error)) => return Poll::Ready(Err(sentence(error))),
                Poll::Pending => return Poll::Pending,
            }
            if let Some(message) = self.queue.pop_front() {
                Pin::new(&mut self.stream).start_send(message).map_err(sentence)?;
            }
        }
        if self.flushed {
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_flush(context) {
            Poll::Ready(result) => {
                self.flushed = true;
                Poll::Ready(result.map_err(sentence))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

fn ended(reason: &(impl ToString + ?Sized)) -> Poll<Heard> {
    Poll::Ready(Heard::Ended(reason.to_string()))
}
