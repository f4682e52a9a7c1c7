//! A connection whose peer has to read: one that takes no byte of what is written to it for too long is at its end.
//!
//! Without this, whoever asks for a large page and then reads nothing holds that page, and his share of all connections,
//! for as long as his system keeps the connection open. Only a write that waits has a deadline; a connection on which
//! there is nothing to say is the affair of others (headers have a deadline, and so do heartbeats).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// See the module.
pub(super) struct Patient<I> {
    io: I,
    deadline: Duration,
    /// Runs while a write waits.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<I> Patient<I> {
    pub(super) fn new(io: I, deadline: Duration) -> Self {
        Self { io, deadline, waiting: None }
    }

    /// Passes on what a write came to; an error once it has waited for too long.
    fn watch<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let deadline = self.deadline;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(sleep(deadline)));
        ready!(waiting.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes nothing of what it is sent")))
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Patient<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(context, buffer)
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Patient<I> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(context, bytes);
        self.watch(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.io).poll_flush(context);
        self.watch(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let ended = Pin::new(&mut self.io).poll_shutdown(context);
        self.watch(context, ended)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(context, slices);
        self.watch(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    #[tokio::test]
    async fn whoever_takes_something_in_time_is_waited_for_and_whoever_takes_nothing_is_not() {
        let (ours, mut theirs) = duplex(64);
        let mut patient = Patient::new(ours, Duration::from_secs(2));
        let writer = tokio::spawn(async move { patient.write_all(&[7; 192]).await });
        let mut taken = [0; 32];
        for _ in 0..3 {
            sleep(Duration::from_millis(900)).await;
            theirs.read_exact(&mut taken).await.expect("there is something to read");
        }
        assert!(!writer.is_finished(), "32 of 192 bytes are still to be written");
        // 2.7 s have passed in all, and never 2 without a byte.
        let error = writer.await.expect("does not panic").expect_err("has given up");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
