//! Moonpool's side of the comparison: `peer-moonpool <workload> <amount>`. It prints how much was done.

use std::{env, time::Duration};

use async_trait::async_trait;
use futures::io::{AsyncReadExt, AsyncWriteExt};
use moonpool_sim::{
    NetworkProvider, Process, SimContext, SimulationBuilder, SimulationError, SimulationReport, SimulationResult,
    TcpListenerTrait, TimeProvider, Workload, buggify_reset,
};

const CALLS_OF_A_SEED: u64 = 20;
const WORD: [u8; 4] = *b"ping";
const SECOND: Duration = Duration::from_secs(1);

async fn sleep(ctx: &SimContext, time: Duration) -> SimulationResult<()> {
    ctx.time().sleep(time).await.map_err(|error| SimulationError::InvalidState(error.to_string()))
}

/// Wakes once a second.
struct Idler;

#[async_trait]
impl Process for Idler {
    fn name(&self) -> &'static str {
        "idler"
    }

    async fn run(&mut self, ctx: &SimContext) -> SimulationResult<()> {
        loop {
            sleep(ctx, SECOND).await?;
        }
    }
}

/// Keeps a run going for so long.
struct Wait {
    lasting: Duration,
}

#[async_trait]
impl Workload for Wait {
    fn name(&self) -> &'static str {
        "wait"
    }

    async fn run(&mut self, ctx: &SimContext) -> SimulationResult<()> {
        sleep(ctx, self.lasting).await
    }
}

/// Answers one connection with what it is sent.
struct Server;

#[async_trait]
impl Process for Server {
    fn name(&self) -> &'static str {
        "server"
    }

    async fn run(&mut self, ctx: &SimContext) -> SimulationResult<()> {
        let listener = ctx.network().bind(ctx.my_ip()).await?;
        let (mut stream, _) = listener.accept().await?;
        let mut word = WORD;
        while stream.read_exact(&mut word).await.is_ok() {
            stream.write_all(&word).await?;
        }
        Ok(())
    }
}

/// Calls the server so many times, one call after the other.
struct Client {
    calls: u64,
}

#[async_trait]
impl Workload for Client {
    fn name(&self) -> &'static str {
        "client"
    }

    async fn setup(&mut self, _: &SimContext) -> SimulationResult<()> {
        // The runner has just switched its injected faults on, and has no option against it; the others run without.
        buggify_reset();
        Ok(())
    }

    async fn run(&mut self, ctx: &SimContext) -> SimulationResult<()> {
        let server = ctx.peer("server").expect("the server is part of the run");
        let mut stream = ctx.network().connect(&server).await?;
        for _ in 0..self.calls {
            let mut answer = [0; WORD.len()];
            stream.write_all(&WORD).await?;
            stream.read_exact(&mut answer).await?;
            assert_eq!(answer, WORD, "what comes back is what was sent");
        }
        Ok(())
    }
}

fn passed(builder: SimulationBuilder, seeds: u64) -> SimulationReport {
    let report = builder.set_iterations(seeds as usize).set_debug_seeds((1..=seeds).collect()).run();
    assert_eq!(report.successful_runs as u64, seeds, "every seed passes");
    report
}

fn idle(seconds: u64) -> u64 {
    let lasting = Duration::from_secs(seconds);
    let builder = SimulationBuilder::new().processes(10, || Box::new(Idler)).workload(Wait { lasting });
    passed(builder.run_time_budget(lasting * 2), 1).metrics.simulated_time.as_secs()
}

fn calls(calls: u64, seeds: u64) {
    let builder = SimulationBuilder::new().processes(1, || Box::new(Server)).workload(Client { calls });
    passed(builder, seeds);
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [workload, amount] = arguments.as_slice() else { panic!("give a workload and an amount") };
    let amount = amount.parse().expect("the amount is a number");
    let done = match workload.as_str() {
        "idle" => idle(amount),
        "echo" => {
            calls(amount, 1);
            amount
        }
        "seeds" => {
            calls(CALLS_OF_A_SEED, amount);
            amount
        }
        other => panic!("there is no workload {other}"),
    };
    println!("{done}");
}
