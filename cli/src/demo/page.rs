//! The bank's page, served by the demo.

use std::{net::SocketAddr, path::Path, sync::Arc};

use dacapo_bank::{accounts, transactions, users};
use dacapo_web::{Books, Site, SiteConfig, doors::Doors, vault::Vault, weather::Weather};
use tokio::{net::TcpListener, task::JoinHandle};

use super::instances::Instances;
use crate::production;

/// The page, and where it is.
pub(super) struct Page {
    pub(super) link: String,
    pub(super) site: Arc<Site>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Page {
    /// Serves it. If the port is taken, any other will do: the link is printed.
    pub(super) async fn serve(
        books: Arc<Books>,
        instances: &Instances,
        bus: String,
        db: &Path,
        listen: SocketAddr,
        viewer: String,
        weather: Option<Weather>,
    ) -> anyhow::Result<Self> {
        let world = production::world("page");
        // Names and passwords are no facts of the bank: they are not in its log.
        let vault = Vault::open(Some(&db.with_extension("web.db")), Arc::clone(&world.clock))?;
        let doors = Doors {
            users: instances.door(users::NAME)?,
            accounts: instances.door(accounts::NAME)?,
            transactions: instances.door(transactions::NAME)?,
            bus,
        };
        let config = SiteConfig { viewer: Some(viewer), weather, ..SiteConfig::default() };
        let site = Site::new(books, vault, doors, world.clock, config);
        let listener = match TcpListener::bind(listen).await {
            Ok(listener) => listener,
            Err(_) => production::listen(SocketAddr::new(listen.ip(), 0)).await?,
        };
        let link = format!("http://{}", listener.local_addr()?);
        let routes = site.router().into_make_service_with_connect_info::<SocketAddr>();
        let task = tokio::spawn(async move { axum::serve(listener, routes).await });
        Ok(Self { link, site, task })
    }

    /// Takes nobody any more.
    pub(super) fn close(&self) {
        self.task.abort();
    }
}
