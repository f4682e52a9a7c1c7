//! Customers at work: each opens two accounts, pays money in, and then sends money about until the demo ends.
//!
//! They behave as customers should: a request of unknown outcome is repeated with the same idempotency key, so that
//! nothing happens twice.

use std::{sync::Arc, time::Duration};

use dacapo_bank::{accounts, transactions, users};
use dacapo_core::hooks::World;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::instances::Instances;
use crate::{http, production};

/// Between two deeds of a customer, on average: lively to look at, and nothing to an idle laptop.
const PAUSE_MS: u64 = 600;
/// After a request of unknown outcome.
const RETRY: Duration = Duration::from_millis(500);
const FIRST_DEPOSIT_PENCE: u64 = 50_000;
const TRANSFER_PENCE_MAX: u64 = 12_000;

/// Where the services answer.
#[derive(Debug, Clone)]
pub(super) struct Doors {
    users: String,
    accounts: String,
    transactions: String,
}

impl Doors {
    /// Those of the demo's processes.
    pub(super) fn of(instances: &Instances) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            users: instances.door(users::NAME)?,
            accounts: instances.door(accounts::NAME)?,
            transactions: instances.door(transactions::NAME)?,
        }))
    }
}

struct Customer {
    name: String,
    doors: Arc<Doors>,
    world: World,
    asked: u64,
}

/// Works until it is dropped.
pub(super) async fn work(number: u32, doors: Arc<Doors>) {
    let world = production::world("customer");
    // Unlike those of any other demo on the same file.
    let run = world.entropy.next_u64() & 0xffff;
    let mut customer = Customer { name: format!("customer-{number}-{run:04x}"), doors, world, asked: 0 };
    customer.open().await;
    loop {
        let pause = customer.below(2 * PAUSE_MS);
        sleep(Duration::from_millis(pause)).await;
        customer.act().await;
    }
}

impl Customer {
    fn below(&self, n: u64) -> u64 {
        self.world.entropy.next_u64() % n.max(1)
    }

    fn account(&self, number: u64) -> String {
        format!("{}-{number}", self.name)
    }

    async fn open(&mut self) {
        let (users, accounts) = (self.doors.users.clone(), self.doors.accounts.clone());
        let name = self.name.clone();
        self.ask(&users, "POST", "/users", json!({ "id": name, "name": name })).await;
        for number in 1..=2 {
            let account = self.account(number);
            self.ask(
                &users,
                "POST",
                &format!("/users/{name}/accounts"),
                json!({ "account": account, "name": "everyday" }),
            )
            .await;
            // The account opens when its request has gone through the log; until then a deposit finds nothing.
            while self.ask(&accounts, "GET", &format!("/accounts/{account}"), Value::Null).await == 404 {
                sleep(RETRY).await;
            }
            let deposit = json!({ "pence": FIRST_DEPOSIT_PENCE });
            self.ask(&accounts, "POST", &format!("/accounts/{account}/deposit"), deposit).await;
        }
    }

    async fn act(&mut self) {
        let (accounts, transactions) = (self.doors.accounts.clone(), self.doors.transactions.clone());
        let from = 1 + self.below(2);
        let pence = 1 + self.below(TRANSFER_PENCE_MAX);
        match self.below(5) {
            0 => {
                let path = format!("/accounts/{}", self.account(from));
                self.ask(&accounts, "GET", &path, Value::Null).await;
            }
            1 => {
                let path = format!("/accounts/{}/deposit", self.account(from));
                self.ask(&accounts, "POST", &path, json!({ "pence": pence })).await;
            }
            _ => {
                let id = format!("{}-t{}", self.name, self.asked);
                let order = json!({
                    "id": id, "from": self.account(from), "to": self.account(3 - from), "pence": pence,
                    "reference": "back and forth",
                });
                self.ask(&transactions, "POST", "/transactions", order).await;
            }
        }
    }

    /// Asks until an answer comes, always with the same key; the answer's status.
    async fn ask(&mut self, door: &str, method: &str, path: &str, body: Value) -> u16 {
        self.asked += 1;
        let key = format!("ask-{}", self.asked);
        let headers = [("idempotency-key", key.as_str()), ("caller", self.name.as_str())];
        let body = if body.is_null() { String::new() } else { body.to_string() };
        loop {
            match http::send(door, method, path, &headers, body.clone()).await {
                Ok(reply) if reply.status < 500 => return reply.status,
                Ok(reply) => tracing::debug!(status = reply.status, path, "asks again"),
                Err(error) => tracing::debug!(%error, path, "asks again"),
            }
            sleep(RETRY).await;
        }
    }
}
