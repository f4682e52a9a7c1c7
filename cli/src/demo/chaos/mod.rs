//! `dacapo demo --chaos`: faults while one watches.
//!
//! Instances are killed and come back, their lines are cut or held up, what a service keeps is destroyed and made again from
//! the log. Each fault is told on stderr and on the page, and after it, or whenever somebody asks, the log is audited. One
//! fault at a time: what several of them do together is what the simulator is for.

mod schedule;

use std::{sync::Arc, time::Duration};

use dacapo_web::{
    Site,
    weather::{Maker, Report, Wish},
};
use serde::Serialize;
use tokio::time::{Instant, interval, sleep, sleep_until};

use super::{audit::Audit, instances::Instances};
use crate::terminal::{Terminal, strong};
use schedule::{Fault, Schedule};

/// Between two audits without a fault.
const AUDIT_EVERY: Duration = Duration::from_secs(10);
/// The service that decides on payments.
const DECIDES: &str = dacapo_bank::accounts::NAME;
/// Whoever is held up goes on by itself after this: nobody wants to find the bank so an hour later.
const HOLD_MAX: Duration = Duration::from_secs(30);

/// Lets things go wrong.
pub(super) struct Chaos<'a> {
    terminal: &'a Terminal,
    instances: &'a mut Instances,
    site: Arc<Site>,
    weather: Maker,
    audit: Audit,
    schedule: Schedule,
    report: Report,
    /// Payments are held up until then at the latest.
    held_until: Option<Instant>,
}

#[derive(Serialize)]
struct Told<'a> {
    sentence: &'a str,
}

impl<'a> Chaos<'a> {
    pub(super) fn new(
        terminal: &'a Terminal,
        instances: &'a mut Instances,
        site: Arc<Site>,
        weather: Maker,
        bus: String,
        seed: u64,
    ) -> Self {
        let names = instances.processes.iter().map(|process| process.name.clone()).collect();
        let mut services: Vec<String> = instances.processes.iter().map(|process| process.service.clone()).collect();
        services.dedup();
        let schedule = Schedule::new(seed, names, services);
        Self {
            terminal,
            instances,
            site,
            weather,
            audit: Audit::new(bus),
            schedule,
            report: Report::default(),
            held_until: None,
        }
    }

    /// Until it is dropped. An error is an error of the demo, not a fault.
    pub(super) async fn run(&mut self) -> anyhow::Result<()> {
        let mut audits = interval(AUDIT_EVERY);
        let (pause, mut fault) = self.schedule.next();
        let mut due = std::pin::pin!(sleep(pause));
        loop {
            tokio::select! {
                biased;
                Some(wish) = self.weather.wishes.recv() => self.grant(wish).await?,
                () = sleep_until(self.held_until.unwrap_or_else(Instant::now)), if self.held_until.is_some() => {
                    self.let_go();
                }
                () = &mut due, if self.held_until.is_none() => {
                    self.happen(&fault).await?;
                    self.look().await?;
                    let (pause, next) = self.schedule.next();
                    fault = next;
                    due.set(sleep(pause));
                }
                _ = audits.tick() => self.look().await?,
            }
        }
    }

    async fn grant(&mut self, wish: Wish) -> anyhow::Result<()> {
        match wish {
            Wish::Destroy(answer) => {
                let all = self.instances.processes.len();
                let sentence = format!("the state of all services is destroyed: {all} instances begin from the log");
                self.tell(&sentence);
                self.destroy(|_| true).await?;
                self.look().await?;
                // Whoever asked may have gone.
                let _ = answer.send(sentence);
            }
            Wish::Audit(answer) => {
                self.look().await?;
                let _ = answer.send(self.report.clone());
            }
            Wish::Hold(answer) => {
                let sentence = if self.held_until.is_some() { self.let_go() } else { self.hold() };
                let _ = answer.send(sentence);
            }
        }
        Ok(())
    }

    /// Holds up everybody who decides on payments. No other fault happens by itself until they go on.
    fn hold(&mut self) -> String {
        self.held_until = Some(Instant::now() + HOLD_MAX);
        self.hold_deciders(true);
        let sentence = format!("payments are held up: nothing reaches the instances of {DECIDES}");
        self.tell(&sentence);
        sentence
    }

    fn let_go(&mut self) -> String {
        self.held_until = None;
        self.hold_deciders(false);
        let sentence = "payments go on".to_owned();
        self.tell(&sentence);
        sentence
    }

    fn hold_deciders(&self, is_held: bool) {
        let deciders = self.instances.processes.iter().filter(|process| process.service == DECIDES);
        deciders.for_each(|process| process.line().hold(is_held));
    }

    async fn happen(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match fault {
            Fault::Kill(name, down) => {
                self.tell(&format!("{name} is killed, and back in {:.1} s", down.as_secs_f64()));
                let process = self.instances.of(name);
                process.kill().await;
                sleep(*down).await;
                process.start()?;
            }
            Fault::Delay(name, long) => {
                self.tell(&format!("deliveries to {name} are held up for {:.1} s", long.as_secs_f64()));
                let line = self.instances.of(name).line();
                line.hold(true);
                sleep(*long).await;
                line.hold(false);
            }
            Fault::Cut(name) => {
                self.tell(&format!("the connection of {name} breaks"));
                self.instances.of(name).line().cut();
            }
            Fault::CutPages => {
                self.tell("all pages lose their connection");
                self.site.cut();
            }
            Fault::Destroy(service) => {
                self.tell(&format!("the state of {service} is destroyed, and made again from the log"));
                self.destroy(|of| of == service).await?;
            }
        }
        Ok(())
    }

    /// Kills all instances of some services, destroys what they keep, and starts them again.
    async fn destroy(&mut self, of: impl Fn(&str) -> bool) -> anyhow::Result<()> {
        for process in self.instances.processes.iter_mut().filter(|process| of(&process.service)) {
            process.kill().await;
            process.destroy();
        }
        for process in self.instances.processes.iter_mut().filter(|process| of(&process.service)) {
            process.start()?;
        }
        Ok(())
    }

    fn tell(&mut self, sentence: &str) {
        self.terminal.note(format_args!("{} {sentence}", strong("chaos:")));
        self.terminal.object("fault", &Told { sentence });
        self.report.number += 1;
        sentence.clone_into(&mut self.report.sentence);
        self.weather.reports.send_replace(self.report.clone());
    }

    /// Audits the log.
    async fn look(&mut self) -> anyhow::Result<()> {
        self.audit.go_on().await?;
        let (sound, sentence) = (self.audit.is_sound(), self.audit.sentence());
        if !sound && self.report.sound {
            self.terminal.note(format_args!("{} {sentence}", strong("audit:")));
        }
        self.report.number += 1;
        self.report.sound = sound;
        self.report.audit = sentence;
        self.weather.reports.send_replace(self.report.clone());
        Ok(())
    }

    /// Ends every fault.
    pub(super) fn heal(&mut self) -> anyhow::Result<()> {
        for process in &mut self.instances.processes {
            process.line().hold(false);
            if !process.is_alive() {
                process.start()?;
            }
        }
        Ok(())
    }

    /// The audit, for the end.
    pub(super) fn into_audit(self) -> Audit {
        self.audit
    }
}
