//! A reload: atomic for each request, and felt by nobody.

use tenterhook::ingress::IngressSettings;
use tenterhook::source::Source;
use tenterhook_verify::{Secret, Verifier};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use super::support::{Gateway, Post, SECRET, catalog, generation, github, source, unsigned};
use super::wire::read_answer;

#[tokio::test]
async fn a_request_sees_one_generation() {
    let gh = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![gh.clone()]).await;
    let mut socket = TcpStream::connect(gateway.address).await.unwrap();
    let post = github(&gh, "d", "{}");
    socket
        .write_all(
            &[post.head("POST"), b"content-length: 2\r\nexpect: 100-continue\r\n\r\n".to_vec()].concat(),
        )
        .await
        .unwrap();
    assert_eq!(read_answer(&mut socket).await.unwrap().status, 100, "its head has been judged");
    gateway.ingress.set_generation(generation(vec![unsigned("other")], IngressSettings::default()));
    socket.write_all(b"{}").await.unwrap();
    assert_eq!(
        read_answer(&mut socket).await.unwrap().status,
        202,
        "the source that it came to is gone by now"
    );
    assert_eq!(gateway.ask(post.bytes()).await.status, 404);
    assert_eq!(gateway.ask(Post::to("/webhooks/other", "{}").bytes()).await.status, 202);
}

#[tokio::test]
async fn secrets_rotate_under_load_and_no_request_is_refused_or_cut_off() {
    const REQUESTS: usize = 60;
    const SENDERS: usize = 8;
    let with = |secrets: [&str; 2]| {
        let secrets = secrets.map(Secret::new).to_vec();
        let verifier = Verifier::new(catalog("github").scheme.clone(), secrets).unwrap();
        Source { verifier, ..source("gh", "github", SECRET) }
    };
    let (before, after) = ("the secret before, of 32 bytes!!", "the secret after, also 32 bytes!");
    let generations = [with([before, SECRET]), with([SECRET, after])];
    let signing = source("gh", "github", SECRET);
    let gateway = Gateway::start(vec![generations[0].clone()]).await;

    let reloading = async {
        for turn in 0.. {
            let next = generations[turn % 2].clone();
            gateway.ingress.set_generation(generation(vec![next], IngressSettings::default()));
            tokio::task::yield_now().await;
        }
    };
    let sender = |sender: usize| {
        let (signing, address) = (signing.clone(), gateway.address);
        async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            for n in 0..REQUESTS {
                let post = github(&signing, &format!("{sender}-{n}"), "{}");
                socket.write_all(&post.bytes()).await.unwrap();
                assert_eq!(read_answer(&mut socket).await.unwrap().status, 202);
            }
        }
    };
    let senders = futures_util::future::join_all((0..SENDERS).map(sender));
    tokio::select! {
        () = reloading => {}
        _ = senders => {}
    }
    assert_eq!(gateway.stored().len(), SENDERS * REQUESTS);
    let retired = Post::signed(&with([before, before]), "x", &[("x-github-delivery", "x")], "{}");
    gateway.ingress.set_generation(generation(vec![generations[1].clone()], IngressSettings::default()));
    assert_eq!(gateway.ask(retired.bytes()).await.status, 401, "the old secret ended with its generation");
}
