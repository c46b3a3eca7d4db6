//! The interfaces of WASI and wasi:http as wasmtime links them for web components.
//!
//! All of WASI 0.2 is linked; [`WebComponent`](super::WebComponent) refuses a component that imports what is not
//! granted.

use crate::instance::InstanceState;
use crate::web::context::WebContext;
use wasmtime::component::Linker;
use wasmtime_wasi::{WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

/// Links WASI and wasi:http.
pub(crate) fn add_to_linker(linker: &mut Linker<InstanceState>) -> wasmtime::Result<()> {
    wasmtime_wasi::p2::add_to_linker_async(linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

impl WasiView for InstanceState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        let WebContext { wasi, .. } = &mut **self.web.get_or_insert_default();
        WasiCtxView {
            ctx: wasi,
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for InstanceState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        let WebContext { http, outgoing, .. } = &mut **self.web.get_or_insert_default();
        WasiHttpCtxView {
            hooks: outgoing,
            table: &mut self.table,
            ctx: http,
        }
    }
}
