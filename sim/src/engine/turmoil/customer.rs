//! A customer: does its operations in order, and repeats each with the same key until its outcome is known.
//!
//! What it knows lies in the [`Book`](crate::engine::book::Book), outside the host, so that a customer that crashed goes on
//! where it was.

use std::{
    future::pending,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use dacapo_core::{NodeName, Position, trace::What};
use dacapo_properties::Operation;
use dacapo_service::driver::routing::method_name;
use tokio::{
    task::JoinSet,
    time::{sleep, sleep_until, timeout},
};

use super::{
    http::{self, Asking},
    net::SERVICE_PORT,
    stage::{Life, Stage},
};
use crate::{
    engine::{asking, book::Next},
    marks,
};

/// Runs a life of a customer to the end of its operations.
pub(super) async fn run(stage: Arc<Stage>, life: Arc<Life>, customer: u32) {
    let node = life.host.clone();
    stage.record(&node, What::Started { incarnation: life.number });
    let left = stage.book().take_in_flight(customer);
    for (operation, attempt) in left {
        let error = "the customer crashed".to_owned();
        stage.record(&node, What::OperationUnknown { operation, attempt, error });
    }
    // They end with this life.
    let mut seconds = JoinSet::new();
    loop {
        while seconds.try_join_next().is_some() {}
        if let Some(until) = paused(&stage, &node) {
            sleep(until).await;
            continue;
        }
        let now_us = stage.now().0;
        let (next, due_us) = {
            let book = stage.book();
            (book.next(customer, now_us), book.next_due_us(customer, now_us))
        };
        match next {
            Next::Finished => return,
            Next::Wait => wait(&stage, customer, due_us).await,
            Next::Skip { operation, because } => {
                stage.write(|book| book.skip(operation));
                stage.record(&node, What::OperationSkipped { operation, because });
            }
            Next::Do(operation) => attempt(&stage, &life, &operation, &mut seconds).await,
        }
    }
}

/// Until the next operation may begin, or another has ended.
async fn wait(stage: &Stage, customer: u32, due_us: Option<u64>) {
    let due = async {
        match due_us {
            Some(due_us) => sleep_until(stage.instant(due_us)).await,
            None => pending().await,
        }
    };
    tokio::select! {
        biased;
        () = stage.book_changed(customer) => {}
        () = due => {}
    }
}

fn paused(stage: &Stage, node: &NodeName) -> Option<Duration> {
    let until = stage.faults().paused_until(node)?;
    Some(until.since(stage.now())).filter(|left| !left.is_zero())
}

/// The request goes to a second instance too, and nobody waits for the answer.
fn ask_twice(
    stage: &Arc<Stage>,
    life: &Arc<Life>,
    operation: &Operation,
    attempt: u32,
    deadline: Duration,
    seconds: &mut JoinSet<()>,
) {
    let (stage, life, operation) = (Arc::clone(stage), Arc::clone(life), operation.clone());
    let to = asking::second_instance(&stage.chance, &operation, attempt, stage.instances_of(&operation.service));
    stage.mark(&life.host, marks::ATTEMPT_TWICE);
    seconds.spawn(async move {
        let asking = Asking {
            to: &to,
            port: SERVICE_PORT,
            method: operation.method,
            path: &operation.path,
            body: &operation.body,
            idempotency_key: Some(asking::idempotency_key(operation.id)),
            at_least: None,
            secret: None,
        };
        drop(timeout(deadline, http::ask(&stage, &life, &asking)).await);
    });
}

async fn attempt(stage: &Arc<Stage>, life: &Arc<Life>, operation: &Operation, seconds: &mut JoinSet<()>) {
    let node = &life.host;
    let settings = &stage.plan.settings;
    let attempt = stage.book().begin(operation.id);
    let to = asking::instance(&stage.chance, operation, attempt, stage.instances_of(&operation.service));
    let inspecting = stage.inspecting.load(Ordering::Relaxed);
    let at_least: Option<Position> = inspecting.then(|| stage.progress().position());
    stage.record(
        node,
        What::OperationSent {
            operation: operation.id,
            attempt,
            service: operation.service.clone(),
            method: method_name(operation.method).to_owned(),
            path: operation.path.clone(),
            body: operation.body.clone(),
        },
    );
    let asking = Asking {
        to: &to,
        port: SERVICE_PORT,
        method: operation.method,
        path: &operation.path,
        body: &operation.body,
        idempotency_key: Some(asking::idempotency_key(operation.id)),
        at_least,
        secret: None,
    };
    let deadline = Duration::from_micros(settings.attempt_deadline_us);
    if stage.faults().duplicates(operation.id, attempt) {
        ask_twice(stage, life, operation, attempt, deadline, seconds);
    }
    let error = match timeout(deadline, http::ask(stage, life, &asking)).await {
        Ok(Ok((status, body))) if asking::is_known(status) => {
            if !life.is_dead() {
                stage.write(|book| book.answered(operation.id, status));
                stage.record(node, What::OperationAnswered { operation: operation.id, attempt, status, body });
            }
            return;
        }
        Ok(Ok((status, body))) => asking::unsettled(&to, status, &body),
        Ok(Err(no_answer)) => format!("{to}, {}", no_answer.0),
        Err(_) => format!("{to} gave no answer in time"),
    };
    stage.book().unknown(operation.id);
    stage.record(node, What::OperationUnknown { operation: operation.id, attempt, error });
    let wait = asking::back_off_us(settings, &stage.chance, operation.id, attempt);
    sleep(Duration::from_micros(wait)).await;
}
