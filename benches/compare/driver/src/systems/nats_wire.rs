//! NATS's text protocol, as much of it as a client of JetStream needs: requests with headers, and messages.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::TcpStream,
    process,
    sync::atomic::{AtomicU64, Ordering::SeqCst},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};

/// What came for a subscription.
pub(crate) struct Message {
    pub(crate) subject: String,
    /// Where an answer goes; JetStream's acknowledgements too.
    pub(crate) reply: Option<String>,
    /// JetStream says in a status that there is nothing.
    pub(crate) is_status: bool,
    pub(crate) payload: Vec<u8>,
}

pub(crate) struct Connection {
    reader: BufReader<TcpStream>,
    /// Everything below it is answers to this connection.
    inbox: String,
    requests: u64,
}

impl Connection {
    pub(crate) fn open(port: u16) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(10)))?;
        let inbox = format!("_INBOX.{}-{}", process::id(), NEXT.fetch_add(1, SeqCst));
        let mut connection = Self { reader: BufReader::new(stream), inbox, requests: 0 };
        let hello = "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}";
        connection.write(format!("{hello}\r\nSUB {}.> 1\r\n", connection.inbox).as_bytes())?;
        connection.flush()?;
        Ok(connection)
    }

    /// A subject of this connection's own.
    pub(crate) fn inbox(&self, name: &str) -> String {
        format!("{}.{name}", self.inbox)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.reader.get_mut().write_all(bytes)?)
    }

    /// Waits until the server has taken what was written.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.write(b"PING\r\n")?;
        while !self.line()?.starts_with("PONG") {}
        Ok(())
    }

    /// Publishes and waits for the answer.
    pub(crate) fn request(&mut self, subject: &str, header: Option<(&str, &str)>, payload: &str) -> Result<Message> {
        self.requests += 1;
        let reply = self.inbox(&self.requests.to_string());
        let text = match header {
            None => format!("PUB {subject} {reply} {}\r\n{payload}\r\n", payload.len()),
            Some((name, value)) => {
                let header = format!("NATS/1.0\r\n{name}: {value}\r\n\r\n");
                let (of_header, of_all) = (header.len(), header.len() + payload.len());
                format!("HPUB {subject} {reply} {of_header} {of_all}\r\n{header}{payload}\r\n")
            }
        };
        self.write(text.as_bytes())?;
        loop {
            let message = self.message()?.with_context(|| format!("no answer from {subject}"))?;
            if message.subject == reply {
                return Ok(message);
            }
        }
    }

    /// From here on [`Self::message`] returns without one after so long.
    pub(crate) fn waits_at_most(&self, time: Duration) -> Result<()> {
        Ok(self.reader.get_ref().set_read_timeout(Some(time))?)
    }

    /// The next message; none if none comes in time.
    pub(crate) fn message(&mut self) -> Result<Option<Message>> {
        loop {
            let line = match self.line() {
                Ok(line) => line,
                Err(error) if timed_out(&error) => return Ok(None),
                Err(error) => return Err(error),
            };
            let words: Vec<&str> = line.split_whitespace().collect();
            let (headers, words) = match words.split_first() {
                Some((&"MSG", words)) => (false, words),
                Some((&"HMSG", words)) => (true, words),
                Some((&"PING", _)) => {
                    self.write(b"PONG\r\n")?;
                    continue;
                }
                Some((&"-ERR", _)) => bail!("NATS says {line}"),
                _ => continue,
            };
            // Subject, subscription, perhaps where to answer, and one length or two.
            let lengths = if headers { 2 } else { 1 };
            let reply = (words.len() == 3 + lengths).then(|| words[2].to_owned());
            let subject = words[0].to_owned();
            let length = |back: usize| words[words.len() - back].parse::<usize>();
            let (of_all, of_headers) = (length(1)?, if headers { length(2)? } else { 0 });
            let mut bytes = vec![0; of_all + 2];
            self.reader.read_exact(&mut bytes)?;
            bytes.truncate(of_all);
            let payload = bytes.split_off(of_headers);
            // Such as `NATS/1.0 404 No Messages`; a message's own headers have no number behind the version.
            let is_status =
                bytes.strip_prefix(b"NATS/1.0 ").is_some_and(|rest| rest.first().is_some_and(u8::is_ascii_digit));
            return Ok(Some(Message { subject, reply, is_status, payload }));
        }
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        let length = self.reader.read_line(&mut line)?;
        if length == 0 {
            bail!("NATS closed the connection");
        }
        Ok(line)
    }
}

fn timed_out(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    matches!(kind, Some(ErrorKind::WouldBlock | ErrorKind::TimedOut))
}
