//! A layer for routers whose handlers want verified requests only, and may take them in any form.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum_core::body::Body;
use axum_core::response::{IntoResponse, Response};
use http::Request;
use tower_layer::Layer;
use tower_service::Service;

use super::source::Source;

/// Puts a [`Source`] in front of handlers: what it does not verify is answered with a [`Rejection`](super::Rejection) and
/// reaches none of them. What it verifies arrives as it was, with the same bytes as its body, and with a
/// [`Verified<Event>`](super::Verified) among its extensions.
#[derive(Clone, Debug)]
pub struct VerifyLayer {
    source: Source,
}

impl VerifyLayer {
    /// A layer for one source.
    #[must_use]
    pub fn new(source: Source) -> Self {
        Self { source }
    }
}

impl<S> Layer<S> for VerifyLayer {
    type Service = Verify<S>;

    fn layer(&self, inner: S) -> Verify<S> {
        Verify { inner, source: self.source.clone() }
    }
}

/// The service that [`VerifyLayer`] makes.
#[derive(Clone, Debug)]
pub struct Verify<S> {
    inner: S,
    source: Source,
}

impl<S> Service<Request<Body>> for Verify<S>
where
    S: Service<Request<Body>, Response = Response> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The one that is ready is called; its clone waits for the next request.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let source = self.source.clone();
        Box::pin(async move {
            let (mut head, body) = request.into_parts();
            source.mask(&mut head.headers);
            let verified = match source.receive(head.clone(), body).await {
                Ok(verified) => verified,
                Err(rejection) => return Ok(rejection.into_response()),
            };
            let mut request = Request::from_parts(head, Body::from(verified.body.clone()));
            request.extensions_mut().insert(verified);
            inner.call(request).await
        })
    }
}
