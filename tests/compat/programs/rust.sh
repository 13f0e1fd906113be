# title: Rust: the compiler and what it makes
# needs: rustc
# packages: rustc
# version: rustc --version
# processes: job
# timeout: 600
export RUSTUP_HOME=${RUSTUP_HOME:-$REAL_HOME/.rustup} CARGO_HOME=${CARGO_HOME:-$REAL_HOME/.cargo}
cat > job.rs <<'END'
use std::collections::{BTreeMap, HashMap};
use std::sync::{mpsc, Arc, Mutex};
use std::thread;
fn main() {
    let shared = Arc::new(Mutex::new(BTreeMap::new()));
    let (sender, receiver) = mpsc::channel::<Vec<String>>();
    let workers: Vec<_> = (0..6u64).map(|n| {
        let (shared, sender) = (shared.clone(), sender.clone());
        thread::spawn(move || {
            let mut map = HashMap::new();
            for i in 0..60_000u64 { map.entry(i * 7919 % 4001).or_insert_with(Vec::new).push(i * n); }
            shared.lock().unwrap().insert(n, map.values().flatten().sum::<u64>());
            sender.send((0..2000).map(|i| "x".repeat(i % 500)).collect()).unwrap();
        })
    }).collect();
    drop(sender);
    let total: usize = receiver.iter().map(|list| list.iter().map(String::len).sum::<usize>()).sum();
    for worker in workers { worker.join().unwrap(); }
    let caught = std::panic::catch_unwind(|| { let v: Vec<u32> = vec![]; v[3] });
    println!("{} {:?} {}", total, shared.lock().unwrap(), caught.is_err());
}
END
rustc -O -C codegen-units=2 -o job job.rs
./job 2> /dev/null
