//! The administrator: when all is healed, retries the lanes that were parked, as a person would who has mended what
//! made them fail, or passes their first event over. Without this, whoever waits for a parked event would wait for ever.

use std::{fmt::Write, sync::Arc, time::Duration};

use dacapo_core::bus::Admin;
use dacapo_service::Method;
use tokio::time::{sleep, timeout};

use super::{
    http::{self, Asking},
    net::BUS_PORT,
    stage::{Life, Stage},
};
use crate::{
    cast,
    engine::{asking, setup},
};

/// How long the administrator leaves a lane alone before retrying it once more.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// Retries what is parked, until the run is over.
pub(super) async fn run(stage: Arc<Stage>, life: Arc<Life>) {
    let deadline = Duration::from_micros(stage.plan.settings.attempt_deadline_us);
    loop {
        let mending = asking::mending(&stage.chance, &stage.progress());
        if mending.is_empty() {
            stage.work_changed().await;
            continue;
        }
        for admin in &mending {
            let Some(path) = path(admin) else { continue };
            let asking = Asking {
                to: &cast::bus(),
                port: BUS_PORT,
                method: Method::Post,
                path: &path,
                body: "",
                idempotency_key: None,
                at_least: None,
                secret: stage.plan.settings.guarded.then(|| setup::secret(setup::ADMINISTRATOR)),
            };
            // Whatever the answer is, the log will tell whether the lane is still parked.
            let _ = timeout(deadline, http::ask(&stage, &life, &asking)).await;
        }
        sleep(LOOK_AGAIN).await;
    }
}

fn path(admin: &Admin) -> Option<String> {
    let (service, key, what) = match admin {
        Admin::Retry { service, key } => (service, key, "retry"),
        Admin::Skip { service, key } => (service, key, "skip"),
        _ => return None,
    };
    Some(format!("/v1/services/{}/lanes/{}/{what}", escaped(service.as_str()), escaped(key.as_str())))
}

/// A name as one segment of a path.
fn escaped(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use dacapo_core::{Key, ServiceName};

    use super::*;

    #[test]
    fn a_key_with_a_slash_is_one_segment() {
        let (service, key) = (ServiceName::of("accounts"), Key::of("a/b c"));
        let retry = path(&Admin::Retry { service: service.clone(), key: key.clone() });
        assert_eq!(retry.as_deref(), Some("/v1/services/accounts/lanes/a%2Fb%20c/retry"));
        let skip = path(&Admin::Skip { service, key });
        assert_eq!(skip.as_deref(), Some("/v1/services/accounts/lanes/a%2Fb%20c/skip"));
    }
}
