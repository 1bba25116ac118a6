//! Where a server listens, and where others reach it.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use crate::exit::{Code, Failure};

/// Opens the port at `address`.
///
/// # Errors
/// When `address` is none, or the port is taken.
pub(in super::super) async fn listen(flag: &str, address: &str) -> Result<TcpListener, Failure> {
    crate::console::check_address(flag, address)?;
    TcpListener::bind(address)
        .await
        .map_err(|e| Failure::new(Code::Other, format!("cannot listen on {address}: {e}")))
}

/// Where others reach `listener`.
///
/// # Errors
/// When it listens everywhere and no `--advertise` says where that is.
pub(in super::super) fn advertised(
    listener: &TcpListener,
    advertise: Option<String>,
) -> Result<String, Failure> {
    if let Some(address) = advertise {
        crate::console::check_address("--advertise", &address)?;
        check_reachable(&address)?;
        return Ok(address);
    }
    let bound = bound(listener)?;
    if bound.ip().is_unspecified() {
        return Err(Failure::usage(format!(
            "--listen {bound} is every address of this machine: say with --advertise HOST:PORT \
             where others reach it"
        )));
    }
    Ok(bound.to_string())
}

/// Refuses an advertised address to which nobody can connect.
fn check_reachable(address: &str) -> Result<(), Failure> {
    let no = |why: &str| {
        Err(Failure::usage(format!(
            "--advertise {address} {why}: write the HOST:PORT under which others reach this machine"
        )))
    };
    if address.rsplit_once(':').is_some_and(|(_, port)| port.parse() == Ok(0u16)) {
        return no("has port 0, to which nobody can connect");
    }
    match address.parse::<SocketAddr>() {
        Ok(known) if known.ip().is_unspecified() => no("is every address of a machine, not one"),
        _ => Ok(()),
    }
}

/// Where `listener` listens.
///
/// # Errors
/// When the system does not say.
pub(in super::super) fn bound(listener: &TcpListener) -> Result<SocketAddr, Failure> {
    listener
        .local_addr()
        .map_err(|e| Failure::new(Code::Other, format!("the listening port is not known: {e}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_advertised_address_to_which_nobody_can_connect_is_refused() {
        for bad in ["0.0.0.0:4001", "[::]:4001", "10.0.0.4:0", "store.example:0"] {
            let refusal = check_reachable(bad).expect_err(bad);
            assert_eq!(refusal.code, Code::Usage, "{bad}");
        }
        for good in ["10.0.0.4:4001", "store.example:4001", "[::1]:4001"] {
            assert!(check_reachable(good).is_ok(), "{good}");
        }
    }
}
