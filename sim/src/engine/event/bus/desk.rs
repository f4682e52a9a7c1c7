//! What the process does while its disk is full: what the server's desk does, without tasks.

use dacapo_backends::server::{answer_while_full, closing_while_full};
use dacapo_core::trace::{Frame, What};
use dacapo_service::Response;

use super::{Arrival, BusProcess};
use crate::engine::event::{queue::ConnectionId, stage::Stage};

impl BusProcess {
    /// There is no room to begin.
    pub(super) fn fill_up(&mut self, stage: &mut Stage) {
        if !std::mem::replace(&mut self.is_full, true) {
            stage.record(self.host, What::Full {});
        }
    }

    /// Answers whoever has come.
    pub(super) fn tend_desk(&mut self, stage: &mut Stage) {
        while let Some(arrival) = self.inbox.pop_front() {
            match arrival {
                Arrival::Connected(conn, connection) => {
                    self.conns.insert(conn, connection);
                    stage.record(self.host, What::Connected { connection: conn.0 });
                }
                Arrival::Frame(conn, frame) => {
                    if !self.conns.contains_key(&conn) {
                        continue;
                    }
                    let recorded = Frame::ToBus(frame.clone());
                    stage.record(self.host, What::FrameReceived { connection: conn.0, frame: recorded });
                    if let Some(answer) = answer_while_full(&frame) {
                        self.send(stage, conn, answer);
                    } else {
                        self.send(stage, conn, closing_while_full().into());
                        self.close(stage, conn);
                    }
                }
                Arrival::Admin(conn, _) => self.reply(stage, conn, 503, "the disk is full, and no bus can begin"),
                Arrival::Disconnected(conn) => {
                    if self.conns.remove(&conn).is_some() {
                        stage.record(self.host, What::Disconnected { connection: conn.0 });
                    }
                }
            }
        }
        // There is no machine to be told.
        self.caused.clear();
    }

    /// There is room: lets everyone go, for a bus begins that knows none of them.
    pub(super) fn leave_desk(&mut self, stage: &mut Stage) {
        if !std::mem::take(&mut self.is_full) {
            return;
        }
        for conn in self.conns.keys().copied().collect::<Vec<_>>() {
            self.send(stage, conn, closing_while_full().into());
            self.close(stage, conn);
        }
        self.caused.clear();
    }

    /// Reads the log for somebody; whether the process lives on.
    pub(super) fn read_for(&mut self, stage: &mut Stage, connection: ConnectionId) -> bool {
        let (read, passed) = stage.store_tells_log();
        let response = match &read {
            Ok(events) => Response::json(200, events),
            Err(error) => Response::error(503, &error.to_string()),
        };
        if read.is_ok() && self.is_full {
            stage.mark(self.host, crate::marks::READ_WHILE_FULL);
        }
        stage.respond(connection, response);
        stage.pass(self.host, passed)
    }
}
