//! SIGINT and SIGTERM.

use crate::exit::Code;

/// Waits until the process is asked to stop, and says with which code.
pub(crate) async fn stop() -> Code {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (Ok(mut interrupt), Ok(mut terminate)) =
            (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
        else {
            tracing::warn!("signals cannot be caught: Ctrl-C ends the process at once");
            return std::future::pending().await;
        };
        tokio::select! {
            biased;
            _ = interrupt.recv() => Code::Interrupted,
            _ = terminate.recv() => Code::Terminated,
        }
    }
    #[cfg(not(unix))]
    {
        if tokio::signal::ctrl_c().await.is_err() {
            return std::future::pending().await;
        }
        Code::Interrupted
    }
}

/// Lets a write beyond the limit of file sizes fail with an error that can be
/// told, where the signal SIGXFSZ would end the process.
pub(crate) fn survive_file_size_limit() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let kind = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        // The handler stays when what listens to it is dropped.
        if let Err(error) = signal(kind) {
            tracing::debug!(%error, "SIGXFSZ cannot be caught");
        }
    }
}

/// Waits for [`stop`], or with `until_stdin_ends` for the end of standard
/// input: whoever started the process is gone.
pub(crate) async fn stop_or_orphaned(until_stdin_ends: bool) -> Code {
    if !until_stdin_ends {
        return stop().await;
    }
    let orphaned = async {
        let mut nothing = tokio::io::sink();
        // An error is an end as well.
        drop(tokio::io::copy(&mut tokio::io::stdin(), &mut nothing).await);
    };
    tokio::select! {
        biased;
        code = stop() => code,
        () = orphaned => Code::Terminated,
    }
}
