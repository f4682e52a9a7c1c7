//! `dacapo service`, `new` and `sim --services`, as somebody with a script uses them.

#[path = "lua/process.rs"]
mod process;
mod support;

use std::{fs, path::Path, thread, time::Duration};

use process::{bus, service};
use serde_json::json;
use support::{Scratch, code, run, stderr, stdout};

/// Written from the table of the manual alone, with amounts that are floats.
const PURSES: &str = r#"
bus:register("purses")

local function moved(event_type, key, correlation, data, timestamp)
  local purse = redis:get(key) or { balance = 0.0 }
  purse.balance = purse.balance + data.amount
  redis:set(key, purse)
  redis:incr("moves")
end

bus:add_event_listener("Moved", moved)
bus:add_rebuild_handler("Moved", moved)

bus:add_route("/purse/{id}", "POST", function(method, route, args, data)
  local purse = redis:get(args.id) or { balance = 0.0 }
  if purse.balance + data.amount < 0 then
    return HTTP_BAD_REQUEST, { error = "not enough", balance = purse.balance }
  end
  bus:send("Moved", args.id, false, nil, { amount = data.amount })
  return HTTP_CREATED, { moved = data.amount }
end)

bus:add_route("/purse/{id}", "GET", function(method, route, args, data)
  local purse = redis:get(args.id)
  if purse == nil then return HTTP_NOT_FOUND end
  return HTTP_OK, { balance = purse.balance, moves = redis:get("moves"), keys = redis:keys("*") }
end)
"#;

#[test]
fn an_old_script_with_floats_runs_on_the_bus_and_outlives_its_process_and_its_state() {
    let scratch = Scratch::new("lua-service");
    let directory = scratch.path();
    fs::write(directory.join("purses.lua"), PURSES).expect("can be written");
    let bus = bus(directory);
    let mut one = service(directory, &bus, "purses.lua", &[]);
    let two = service(directory, &bus, "purses.lua", &["--instance", "purses-2", "--state", "memory"]);
    assert_eq!(one.ask("POST", "/purse/ann", r#"{"amount": 10.5}"#), (201, json!({"moved": 10.5})));
    assert_eq!(two.ask("POST", "/purse/ann", r#"{"amount": -4.25}"#).0, 201);
    assert_eq!(
        two.ask("POST", "/purse/ann", r#"{"amount": -7}"#),
        (400, json!({"error": "not enough", "balance": 6.25}))
    );
    assert_eq!(one.ask("POST", "/purse/bob", r#"{"amount": 1}"#).0, 201);
    assert_eq!(one.ask("POST", "/purse/bob", "{").0, 400);
    assert_eq!(one.ask("GET", "/purse/eve", "").0, 404);
    let expected = json!({"balance": 6.25, "moves": 3, "keys": ["ann", "bob", "moves"]});
    for instance in [&one, &two] {
        instance.until("GET", "/purse/ann", |_, body| *body == expected);
    }
    one.running.kill();
    let mut one = service(directory, &bus, "purses.lua", &[]);
    one.until("GET", "/purse/ann", |_, body| *body == expected);
    one.running.kill();
    for file in fs::read_dir(directory).expect("is there").flatten() {
        if file.file_name().to_string_lossy().contains(".state.db") {
            fs::remove_file(file.path()).expect("can be removed");
        }
    }
    let one = service(directory, &bus, "purses.lua", &[]);
    one.until("GET", "/purse/ann", |_, body| *body == expected);
}

#[test]
fn a_script_that_is_saved_again_takes_its_own_place() {
    let scratch = Scratch::new("lua-reload");
    let directory = scratch.path();
    let file = directory.join("purses.lua");
    fs::write(&file, PURSES).expect("can be written");
    let bus = bus(directory);
    let one = service(directory, &bus, "purses.lua", &[]);
    assert_eq!(one.ask("POST", "/purse/ann", r#"{"amount": 10}"#).0, 201);
    fs::write(&file, PURSES.replace("+ data.amount\n", "+ 2 * data.amount\n")).expect("can be written");
    one.until("GET", "/purse/ann", |_, body| body["balance"] == json!(20.0));
    // One that does not load leaves the running one alone.
    fs::write(&file, "this is no Lua").expect("can be written");
    thread::park_timeout(Duration::from_millis(700));
    one.until("GET", "/purse/ann", |_, body| body["balance"] == json!(20.0));
}

#[test]
fn nectar_joins_the_running_bank_and_counts_from_the_beginning_of_the_log() {
    let scratch = Scratch::new("lua-nectar");
    let directory = scratch.path();
    let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bank/lua");
    let script = |name: &str| scripts.join(name).display().to_string();
    let bus = bus(directory);
    let memory = ["--state", "memory"];
    let users = service(directory, &bus, &script("users.lua"), &memory);
    let accounts = service(directory, &bus, &script("accounts.lua"), &memory);
    let transactions = service(directory, &bus, &script("transactions.lua"), &memory);
    assert_eq!(users.ask("POST", "/users", r#"{"id": "ann", "name": "Ann"}"#).0, 201);
    for account in ["ann-1", "ann-2"] {
        assert_eq!(users.ask("POST", "/users/ann/accounts", &json!({"account": account}).to_string()).0, 202);
        accounts.until("GET", &format!("/accounts/{account}"), |status, _| status == 200);
    }
    assert_eq!(accounts.ask("POST", "/accounts/ann-1/deposit", r#"{"pence": 50000}"#).0, 200);
    let pay = |id: &str, pence: u64| {
        let order = json!({"id": id, "from": "ann-1", "to": "ann-2", "pence": pence});
        assert_eq!(transactions.ask("POST", "/transactions", &order.to_string()).0, 202);
        transactions.until("GET", &format!("/transactions/{id}"), |_, body| body["status"] == "accepted");
    };
    pay("t1", 10_000);
    // It comes when the bank is at work, and nobody is restarted for it.
    let nectar = service(directory, &bus, &script("nectar.lua"), &memory);
    nectar.until("GET", "/nectar/ann-1", |_, body| body["points"] == 1_000);
    pay("t2", 2_500);
    nectar.until("GET", "/nectar/ann-1", |_, body| body["points"] == 750);
    accounts.until("GET", "/accounts/ann-1", |_, body| body["balance"] == 50_000 - 10_000 - 2_500 + 250);
    pay("t3", 2_499);
    accounts.until("GET", "/accounts/ann-1", |_, body| body["balance"] == 35_251);
    assert_eq!(nectar.ask("GET", "/nectar/ann-1", "").1["points"], 750);
}

#[test]
fn a_newcomer_finds_the_first_bug() {
    let scratch = Scratch::new("lua-new");
    let directory = scratch.path();
    let made = run(directory, &["new", "service", "shop"]);
    assert_eq!(code(&made), 0, "{made:?}");
    let shop = directory.join("shop");
    let simulated = ["sim", "--services", "services", "--workload", "workload.lua", "-n", "12", "--no-shrink"];
    let right = run(&shop, &simulated);
    assert!(matches!(code(&right), 0 | 3), "{}{}", stdout(&right), stderr(&right));
    assert!(stdout(&right).contains("no_shelf_is_below_zero"), "{}", stdout(&right));

    let script = shop.join("services/shop.lua");
    let text = fs::read_to_string(&script).expect("is there");
    let wrong = text.replace("\"shelf-\" .. args.id, false,", "\"shelf-\" .. args.id, true,");
    assert_ne!(text, wrong, "the README says which place to change");
    fs::write(&script, wrong).expect("can be written");
    let found = run(&shop, &simulated);
    let said = stdout(&found);
    assert_eq!(code(&found), 1, "{said}{}", stderr(&found));
    for words in [
        "VIOLATED no_shelf_is_below_zero",
        "workload.lua:",
        "sent at shop.lua:",
        "--scenario lua:services:workload.lua",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    let again = said.lines().find(|line| line.contains("replay ")).expect("says how to run it again");
    let arguments: Vec<&str> = again.split_whitespace().skip_while(|word| *word != "replay").collect();
    let replayed = run(&shop, &arguments);
    assert_eq!(code(&replayed), 1, "{again}: {replayed:?}");
    assert!(stdout(&replayed).contains("no_shelf_is_below_zero"));

    assert_eq!(code(&run(directory, &["new", "service", "shop"])), 2, "it overwrites nothing");
}

#[test]
fn what_is_wrong_with_a_script_is_said_before_anything_runs() {
    let scratch = Scratch::new("lua-wrong");
    let directory = scratch.path();
    fs::write(directory.join("nameless.lua"), "bus:add_event_listener('T', print)").expect("can be written");
    let refused = run(directory, &["service", "nameless.lua"]);
    assert_eq!(code(&refused), 2);
    assert!(stderr(&refused).contains("nameless.lua never calls bus:register(name)"), "{refused:?}");
    fs::write(directory.join("workload.lua"), "bus:workload(function() return {} end)").expect("can be written");
    let refused = run(directory, &["sim", "--services", ".", "--workload", "workload.lua"]);
    assert_eq!(code(&refused), 2, "{refused:?}");
}
