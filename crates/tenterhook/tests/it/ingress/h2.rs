//! HTTP/2: spoken where it is wanted, and bounded where it is abused. The frames are written by hand.

use std::convert::Infallible;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tenterhook::net::listener::ListenerSettings;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::listener::{GRACE, Running, quick, start};
use super::wire::{PATIENCE, ask};

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const END_STREAM_AND_HEADERS: u8 = 0x5;

/// `GET http://gw/wait` by HPACK's static table: a request that stays open until it is reset.
const GET_WAIT: &[u8] = b"\x82\x86\x04\x05/wait\x41\x02gw";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// Sends the preface and then `flood` until the peer hangs up, and checks that others are served meanwhile and after.
async fn hangs_up(running: &Running, mut flood: impl FnMut(u32) -> Vec<u8>) {
    let socket = TcpStream::connect(running.address).await.unwrap();
    let (mut reading, mut writing) = socket.into_split();
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, b"")].concat();
    writing.write_all(&preface).await.unwrap();
    let pushing = async {
        for n in 0..1_000_000 {
            if writing.write_all(&flood(n)).await.is_err() {
                return;
            }
        }
        panic!("a million of them are taken");
    };
    let listening = async {
        let mut heard = Vec::new();
        let _ = reading.read_to_end(&mut heard).await;
    };
    let either = async {
        tokio::select! {
            () = pushing => {}
            () = listening => {}
        }
    };
    tokio::time::timeout(PATIENCE, either).await.expect("it never hung up");
    assert_eq!(ask(running.address, "GET / HTTP/1.1\r\nHost: gw\r\n\r\n").await.status, 200);
}

#[tokio::test]
async fn a_peer_that_opens_and_resets_streams_is_hung_up_on() {
    let running = start(ListenerSettings::default(), GRACE).await;
    let rapid_reset = |n: u32| {
        let stream = n * 2 + 1;
        let open = frame(HEADERS, END_STREAM_AND_HEADERS, stream, GET_WAIT);
        [open, frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes())].concat()
    };
    hangs_up(&running, rapid_reset).await;
}

#[tokio::test]
async fn a_peer_that_provokes_resets_is_hung_up_on() {
    let running = start(ListenerSettings::default(), GRACE).await;
    let made_you_reset = |n: u32| {
        let stream = n * 2 + 1;
        let open = frame(HEADERS, END_STREAM_AND_HEADERS, stream, GET_WAIT);
        [open, frame(WINDOW_UPDATE, 0, stream, &0_u32.to_be_bytes())].concat()
    };
    hangs_up(&running, made_you_reset).await;
}

#[tokio::test]
async fn headers_without_an_end_are_hung_up_on() {
    let running = start(ListenerSettings::default(), GRACE).await;
    let value = [b"\x00\x01x\x7f\xa1\x1e".to_vec(), vec![b'v'; 4000]].concat();
    let endless = |n: u32| match n {
        0 => frame(HEADERS, 0x1, 1, GET_WAIT),
        _ => frame(CONTINUATION, 0, 1, &value),
    };
    hangs_up(&running, endless).await;
}

#[tokio::test]
async fn h2_is_spoken_by_prior_knowledge() {
    let running = start(ListenerSettings::default(), GRACE).await;
    let socket = TcpStream::connect(running.address).await.unwrap();
    assert_eq!(h2_get(socket, "http://gw/").await, "h2 false 127.0.0.1");
}

#[tokio::test]
async fn an_idle_h2_connection_is_closed_although_it_pings() {
    let running = start(quick(), GRACE).await;
    let mut socket = TcpStream::connect(running.address).await.unwrap();
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(), frame(SETTINGS, 0, 0, b"")].concat();
    socket.write_all(&preface).await.unwrap();
    let (mut reading, mut writing) = socket.split();
    let pings = async {
        while writing.write_all(&frame(PING, 0, 0, b"pingpong")).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let mut heard = Vec::new();
    let closed = async {
        let _ = reading.read_to_end(&mut heard).await;
    };
    tokio::select! {
        () = pings => {}
        () = closed => {}
        () = tokio::time::sleep(PATIENCE) => panic!("pings keep an idle connection open"),
    }
}

/// Asks once on a stream that speaks HTTP/2.
pub(super) async fn h2_get<T>(stream: T, uri: &str) -> String
where
    T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let request =
        Request::get(uri).body(Empty::<Bytes>::new().map_err(|never: Infallible| match never {})).unwrap();
    let response = sender.send_request(request).await.unwrap();
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}
