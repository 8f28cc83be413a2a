//! A connection that goes bad: a proxy between the program and an etcd.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

/// How it goes bad; all of it can be changed while it runs.
#[derive(Default)]
pub struct Ways {
    /// Connections end after so many bytes from the server; 0: they do not.
    pub cut_after: AtomicU64,
    /// Nothing comes from the server any more.
    pub held: AtomicBool,
    /// Nothing comes any more once so many bytes came, in all; 0: never.
    pub hold_after: AtomicU64,
    /// Every connection ends at once.
    pub dead: AtomicBool,
    /// Some bytes of what the server sends are not what it sent.
    pub lying: AtomicBool,
    /// Bytes that came from the server, in all.
    pub passed: AtomicU64,
    /// Connections that were made.
    pub connections: AtomicU64,
}

pub struct Proxy {
    pub ways: Arc<Ways>,
    port: u16,
}

impl Proxy {
    /// In front of a port of this machine; lives as long as the test program.
    pub fn before(port: u16, ways: Ways) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let ways = Arc::new(ways);
        let proxy = Self { ways: Arc::clone(&ways), port: listener.local_addr().unwrap().port() };
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let ways = Arc::clone(&ways);
                ways.connections.fetch_add(1, Ordering::Relaxed);
                std::thread::spawn(move || {
                    let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { return };
                    let up = (client.try_clone().unwrap(), server.try_clone().unwrap());
                    std::thread::spawn(move || upwards(up.0, up.1));
                    downwards(server, client, &ways);
                });
            }
        });
        proxy
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

fn upwards(mut client: TcpStream, mut server: TcpStream) {
    let mut buffer = [0; 1 << 14];
    while let Ok(n @ 1..) = client.read(&mut buffer) {
        if server.write_all(&buffer[..n]).is_err() {
            break;
        }
    }
    drop(server.shutdown(Shutdown::Both));
}

fn downwards(mut server: TcpStream, mut client: TcpStream, ways: &Ways) {
    let mut buffer = [0; 1 << 14];
    let mut here = 0;
    while let Ok(n @ 1..) = server.read(&mut buffer) {
        let bytes = &mut buffer[..n];
        let count = u64::try_from(n).unwrap();
        let hold_after = ways.hold_after.load(Ordering::Relaxed);
        if hold_after > 0 && ways.passed.load(Ordering::Relaxed) > hold_after {
            ways.hold_after.store(0, Ordering::Relaxed);
            ways.held.store(true, Ordering::Relaxed);
        }
        while ways.held.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(5));
        }
        if ways.dead.load(Ordering::Relaxed) {
            break;
        }
        if ways.lying.load(Ordering::Relaxed) {
            // Of the same length, so that the protocol notices nothing.
            let places: Vec<usize> =
                bytes.windows(8).enumerate().filter(|(_, w)| w == b"k8s:enc:").map(|(i, _)| i).collect();
            for place in places {
                bytes[place + 4] ^= 0x20;
            }
        }
        here += count;
        ways.passed.fetch_add(count, Ordering::Relaxed);
        let cut_after = ways.cut_after.load(Ordering::Relaxed);
        if client.write_all(bytes).is_err() || (cut_after > 0 && here >= cut_after) {
            break;
        }
    }
    drop(client.shutdown(Shutdown::Both));
    drop(server.shutdown(Shutdown::Both));
}
