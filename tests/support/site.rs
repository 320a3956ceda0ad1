//! Pages on loopback: a small HTTP server of the test's own.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What a path answers: status line, headers, body.
#[derive(Clone)]
pub struct Answer {
    status: &'static str,
    headers: String,
    body: String,
    /// Answered only when the test says so.
    held: bool,
    /// Bytes that are announced and never come.
    missing: usize,
}

/// A site that lives as long as the test.
pub struct Site {
    pub port: u16,
    answers: Arc<Mutex<HashMap<String, Answer>>>,
    asked: Arc<Mutex<Vec<String>>>,
    held: Arc<Mutex<Vec<TcpStream>>>,
}

impl Site {
    pub fn start() -> Site {
        Self::at(([127, 0, 0, 1], 0).into())
    }

    /// A site at an address of this machine.
    pub fn at(address: SocketAddr) -> Site {
        let listener = TcpListener::bind(address).unwrap();
        let site = Site {
            port: listener.local_addr().unwrap().port(),
            answers: Arc::default(),
            asked: Arc::default(),
            held: Arc::default(),
        };
        let (answers, asked) = (Arc::clone(&site.answers), Arc::clone(&site.asked));
        let held = Arc::clone(&site.held);
        // Ends with the process of the tests; whoever asks afterwards is a browser that has ended.
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (answers, asked, held) =
                    (Arc::clone(&answers), Arc::clone(&asked), Arc::clone(&held));
                std::thread::spawn(move || serve(stream, &answers, &asked, &held));
            }
        });
        site
    }

    /// A page with this body.
    pub fn page(&self, path: &str, title: &str, body: &str) -> String {
        let html = format!("<!doctype html><title>{title}</title><body>{body}</body>");
        self.answer(
            path,
            "200 OK",
            "Content-Type: text/html; charset=utf-8\r\n",
            &html,
        )
    }

    /// Anything else; the URL.
    pub fn answer(&self, path: &str, status: &'static str, headers: &str, body: &str) -> String {
        let answer = Answer {
            status,
            headers: headers.to_owned(),
            body: body.to_owned(),
            held: false,
            missing: 0,
        };
        self.answers.lock().unwrap().insert(path.to_owned(), answer);
        self.url(path)
    }

    /// A file that breaks off before its end.
    pub fn torn(&self, path: &str, headers: &str, body: &str) -> String {
        let url = self.answer(path, "200 OK", headers, body);
        self.answers.lock().unwrap().get_mut(path).unwrap().missing = 1_000;
        url
    }

    /// A path that never answers.
    pub fn silent(&self, path: &str) -> String {
        let url = self.answer(path, "", "", "");
        self.answers.lock().unwrap().get_mut(path).unwrap().held = true;
        url
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// The same place under a name instead of its address.
    pub fn named(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port)
    }

    /// The paths that were asked for, in their order.
    pub fn asked(&self) -> Vec<String> {
        let heads = self.heads();
        heads.iter().map(|head| path_of(head).to_owned()).collect()
    }

    /// The heads of the requests, in their order.
    pub fn heads(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The path that a request's head asks for.
fn path_of(head: &str) -> &str {
    head.split(' ').nth(1).unwrap_or("/")
}

fn serve(
    mut stream: TcpStream,
    answers: &Mutex<HashMap<String, Answer>>,
    asked: &Mutex<Vec<String>>,
    held: &Mutex<Vec<TcpStream>>,
) {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    if lines.read_line(&mut head).is_err() {
        return;
    }
    while lines.read_line(&mut head).is_ok_and(|read| read > 2) {}
    let path = path_of(&head).to_owned();
    asked.lock().unwrap().push(head);
    let bare = path.split('?').next().unwrap_or_default();
    let answer = answers.lock().unwrap().get(bare).cloned();
    let Some(answer) = answer else {
        let _ = stream
            .write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return;
    };
    if answer.held {
        held.lock().unwrap().push(stream);
        return;
    }
    let head = format!(
        "HTTP/1.1 {}\r\n{}Content-Length: {}\r\nConnection: close\r\n\r\n",
        answer.status,
        answer.headers,
        answer.body.len() + answer.missing
    );
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(answer.body.as_bytes());
}
