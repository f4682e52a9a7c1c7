//! Madsim's side of the comparison: `peer-madsim <workload> <amount>`. It prints how much was done.

#[cfg(not(madsim))]
compile_error!("build it in its own folder, where `.cargo/config.toml` sets `--cfg madsim`");

use std::{env, future::Future, io, net::SocketAddr, time::Duration};

use madsim::{
    Config,
    net::{Endpoint, TcpListener, TcpStream},
    runtime::{Handle, NodeHandle, Runtime},
    time::{TimeHandle, sleep},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const CALLS_OF_A_SEED: u64 = 20;
const WORD: [u8; 4] = *b"ping";
const SECOND: Duration = Duration::from_secs(1);
const SERVER: &str = "10.0.0.1:1";
const CLIENT: &str = "10.0.0.2:1";
/// Datagrams carry a tag; one does for all.
const TAG: u64 = 1;

/// A node with the address that it will listen on.
fn node(address: &str) -> NodeHandle {
    let address: SocketAddr = address.parse().expect("it is an address");
    Handle::current().create_node().ip(address.ip()).build()
}

/// Ten nodes that wake once a second.
async fn idle(seconds: u64) -> u64 {
    let time = TimeHandle::current();
    let began = time.elapsed();
    for n in 1..=10 {
        node(&format!("10.0.0.{n}:1")).spawn(async {
            loop {
                sleep(SECOND).await;
            }
        });
    }
    sleep(SECOND * seconds as u32).await;
    (time.elapsed() - began).as_secs()
}

/// Answers one connection with what it is sent.
async fn serve_stream() -> io::Result<()> {
    let listener = TcpListener::bind(SERVER).await?;
    let (mut stream, _) = listener.accept().await?;
    let mut word = WORD;
    while stream.read_exact(&mut word).await.is_ok() {
        stream.write_all(&word).await?;
        stream.flush().await?;
    }
    Ok(())
}

async fn call_by_stream(calls: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(SERVER).await?;
    for _ in 0..calls {
        let mut answer = [0; WORD.len()];
        stream.write_all(&WORD).await?;
        stream.flush().await?;
        stream.read_exact(&mut answer).await?;
        assert_eq!(answer, WORD, "what comes back is what was sent");
    }
    Ok(())
}

/// Answers datagrams with what they hold.
async fn serve_datagrams() -> io::Result<()> {
    let endpoint = Endpoint::bind(SERVER).await?;
    let mut word = WORD;
    loop {
        let (_, from) = endpoint.recv_from(TAG, &mut word).await?;
        endpoint.send_to(from, TAG, &word).await?;
    }
}

async fn call_by_datagram(calls: u64) -> io::Result<()> {
    let endpoint = Endpoint::bind(CLIENT).await?;
    for _ in 0..calls {
        let mut answer = [0; WORD.len()];
        endpoint.send_to(SERVER, TAG, &WORD).await?;
        endpoint.recv_from(TAG, &mut answer).await?;
        assert_eq!(answer, WORD, "what comes back is what was sent");
    }
    Ok(())
}

/// A server and a client on nodes of their own; it ends with the client.
async fn two_nodes<S, C>(server: S, client: C)
where
    S: Future<Output = io::Result<()>> + Send + 'static,
    C: Future<Output = io::Result<()>> + Send + 'static,
{
    node(SERVER).spawn(server);
    // The server listens before anybody calls.
    sleep(SECOND).await;
    node(CLIENT).spawn(client).await.expect("the client ends").expect("every call is answered");
}

fn run<T>(seed: u64, future: impl Future<Output = T>) -> T {
    Runtime::with_seed_and_config(seed, Config::default()).block_on(future)
}

fn main() {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [workload, amount] = arguments.as_slice() else { panic!("give a workload and an amount") };
    let amount = amount.parse().expect("the amount is a number");
    let mut done = amount;
    match workload.as_str() {
        "idle" => done = run(1, idle(amount)),
        "echo" => run(1, two_nodes(serve_stream(), call_by_stream(amount))),
        "datagrams" => run(1, two_nodes(serve_datagrams(), call_by_datagram(amount))),
        "seeds" => {
            for seed in 1..=amount {
                run(seed, two_nodes(serve_stream(), call_by_stream(CALLS_OF_A_SEED)));
            }
        }
        other => panic!("there is no workload {other}"),
    }
    println!("{done}");
}
