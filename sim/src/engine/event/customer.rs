//! The process of a customer: does its operations in order, and repeats each with the same key until its outcome is
//! known. What it knows lies in the book, outside the host.

use std::collections::VecDeque;

use dacapo_core::trace::What;
use dacapo_properties::Operation;
use dacapo_service::{Response, driver::routing::method_name};

use super::{
    hosts::Returned,
    net::{self, Asked, Heard, Speech},
    queue::{ConnectionId, HostId},
    stage::Stage,
};
use crate::{
    engine::{asking, book::Next},
    marks,
};

/// An attempt under way.
struct Attempt {
    operation: Operation,
    number: u32,
    to: HostId,
    connection: ConnectionId,
    until_us: u64,
    asked: Asked,
}

/// A life of a customer's host.
pub(super) struct CustomerProcess {
    host: HostId,
    number: u32,
    attempt: Option<Attempt>,
    /// Requests that a fault sends a second time; nobody waits for their answers.
    twice: Vec<(ConnectionId, Asked)>,
    heard: VecDeque<(ConnectionId, Heard)>,
    /// It does nothing before this time.
    rests_until_us: u64,
}

impl CustomerProcess {
    /// The process starts.
    pub(super) fn start(stage: &mut Stage, host: HostId, number: u32) -> Self {
        let incarnation = stage.lives[host].number;
        stage.record(host, What::Started { incarnation });
        for (operation, attempt) in stage.book.take_in_flight(number) {
            let error = "the customer crashed".to_owned();
            stage.record(host, What::OperationUnknown { operation, attempt, error });
        }
        Self { host, number, attempt: None, twice: Vec::new(), heard: VecDeque::new(), rests_until_us: 0 }
    }

    /// Takes in what came on a connection.
    pub(super) fn hear(&mut self, connection: ConnectionId, heard: Heard) {
        self.heard.push_back((connection, heard));
    }

    /// Goes on as far as it can; how the process ended, if it did.
    pub(super) fn run(&mut self, stage: &mut Stage) -> Option<Returned> {
        loop {
            if let Some(until_us) = stage.paused_until_us(self.host) {
                stage.wake_at(self.host, until_us);
                return None;
            }
            while let Some((connection, heard)) = self.heard.pop_front() {
                self.listen(stage, connection, heard);
            }
            if let Some(attempt) = &self.attempt {
                let until_us = attempt.until_us;
                if until_us > stage.now_us {
                    stage.wake_at(self.host, until_us);
                    return None;
                }
                self.learn_nothing(stage, "gave no answer in time");
            }
            if self.rests_until_us > stage.now_us {
                stage.wake_at(self.host, self.rests_until_us);
                return None;
            }
            match stage.book.next(self.number, stage.now_us) {
                Next::Finished => return Some(Returned::Quietly),
                Next::Wait => {
                    // What an operation of another customer lets begin is told by the run.
                    if let Some(at_us) = stage.book.next_due_us(self.number, stage.now_us) {
                        stage.wake_at(self.host, at_us);
                    }
                    return None;
                }
                Next::Skip { operation, because } => {
                    stage.book.skip(operation);
                    (stage.progressed, stage.operation_ended) = (true, true);
                    stage.record(self.host, What::OperationSkipped { operation, because });
                }
                Next::Do(operation) => self.begin(stage, operation),
            }
        }
    }

    fn begin(&mut self, stage: &mut Stage, operation: Operation) {
        let number = stage.book.begin(operation.id);
        let among = stage.instances_of(&operation.service);
        let to = asking::instance(&stage.chance, &operation, number, among);
        let to = stage.id(&to).unwrap_or(self.host);
        let at_least = stage.inspecting.then(|| stage.progress.position());
        stage.record(
            self.host,
            What::OperationSent {
                operation: operation.id,
                attempt: number,
                service: operation.service.clone(),
                method: method_name(operation.method).to_owned(),
                path: operation.path.clone(),
                body: operation.body.clone(),
            },
        );
        let asked = Asked::Service {
            method: operation.method,
            path: operation.path.clone(),
            body: operation.body.clone(),
            idempotency_key: asking::idempotency_key(operation.id),
            caller: stage.names[self.host].as_str().to_owned(),
            at_least,
        };
        let identity = net::identity(&("operation", operation.id, number));
        let connection = stage.connect(self.host, to, Speech::Http, identity);
        if stage.faults.duplicates(operation.id, number) {
            self.ask_twice(stage, &operation, number, asked.clone());
        }
        let until_us = stage.now_us + stage.plan.settings.attempt_deadline_us;
        self.attempt = Some(Attempt { operation, number, to, connection, until_us, asked });
    }

    fn ask_twice(&mut self, stage: &mut Stage, operation: &Operation, number: u32, asked: Asked) {
        let among = stage.instances_of(&operation.service);
        let to = asking::second_instance(&stage.chance, operation, number, among);
        if let Some(to) = stage.id(&to) {
            let identity = net::identity(&("operation twice", operation.id, number));
            let connection = stage.connect(self.host, to, Speech::Http, identity);
            self.twice.push((connection, asked));
        }
    }

    fn listen(&mut self, stage: &mut Stage, connection: ConnectionId, heard: Heard) {
        if let Some(index) = self.twice.iter().position(|(twice, _)| *twice == connection) {
            if matches!(heard, Heard::Opened) {
                stage.request(connection, self.twice[index].1.clone());
                stage.mark(self.host, marks::ATTEMPT_TWICE);
            } else {
                self.twice.swap_remove(index);
                stage.close(connection, self.host);
            }
            return;
        }
        let Some(attempt) = self.attempt.as_ref().filter(|attempt| attempt.connection == connection) else { return };
        match heard {
            Heard::Opened => stage.request(connection, attempt.asked.clone()),
            Heard::Response(response) if asking::is_known(response.status) => self.learn(stage, *response),
            Heard::Response(response) => {
                let error = asking::unsettled(&stage.names[attempt.to], response.status, &response.body);
                self.give_up(stage, error);
            }
            Heard::Refused(why) => self.learn_nothing(stage, why),
            Heard::Ended => self.learn_nothing(stage, "broke the connection off"),
            Heard::Upgrade | Heard::ToBus(_) | Heard::FromBus(..) | Heard::Request(_) => {}
        }
    }

    fn learn(&mut self, stage: &mut Stage, response: Response) {
        let Some(Attempt { operation, number, .. }) = self.attempt.take() else { return };
        let Response { status, body, .. } = response;
        stage.book.answered(operation.id, status);
        (stage.progressed, stage.operation_ended) = (true, true);
        stage.record(self.host, What::OperationAnswered { operation: operation.id, attempt: number, status, body });
    }

    fn learn_nothing(&mut self, stage: &mut Stage, why: &str) {
        let Some(attempt) = &self.attempt else { return };
        let error = format!("{}, {why}", stage.names[attempt.to]);
        self.give_up(stage, error);
    }

    fn give_up(&mut self, stage: &mut Stage, error: String) {
        let Some(Attempt { operation, number, connection, .. }) = self.attempt.take() else { return };
        stage.close(connection, self.host);
        stage.book.unknown(operation.id);
        stage.record(self.host, What::OperationUnknown { operation: operation.id, attempt: number, error });
        let wait_us = asking::back_off_us(&stage.plan.settings, &stage.chance, operation.id, number);
        self.rests_until_us = stage.now_us + wait_us;
    }
}
