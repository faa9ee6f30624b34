//! Names as small integers: sources, providers and destinations repeat in every row. Shared between the writer, which
//! gives out numbers, and the readers, which only look them up.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use rusqlite::Connection;

/// Every name with its number. One space for sources, providers and destinations.
#[derive(Debug, Default)]
pub(super) struct Names {
    table: RwLock<Table>,
}

#[derive(Debug, Default)]
struct Table {
    by_text: HashMap<Arc<str>, i64>,
    by_id: HashMap<i64, Arc<str>>,
}

impl Names {
    /// Reads all names anew: at open, and after a failed transaction may have given out numbers.
    pub(super) fn load(&self, conn: &Connection) -> rusqlite::Result<()> {
        let mut fresh = Table::default();
        let mut statement = conn.prepare_cached("SELECT id, text FROM name")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let text: Arc<str> = Arc::from(row.get_ref(1)?.as_str().unwrap_or("unknown"));
            fresh.by_text.insert(Arc::clone(&text), row.get(0)?);
            fresh.by_id.insert(row.get(0)?, text);
        }
        *self.table.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// The number of a name that has one.
    pub(super) fn id(&self, text: &str) -> Option<i64> {
        self.table.read().unwrap_or_else(PoisonError::into_inner).by_text.get(text).copied()
    }

    /// The name of a number. A number that nobody gave out (a damaged row) is `unknown`.
    pub(super) fn text(&self, id: i64) -> Arc<str> {
        let table = self.table.read().unwrap_or_else(PoisonError::into_inner);
        table.by_id.get(&id).map_or_else(|| Arc::from("unknown"), Arc::clone)
    }

    /// The number of a name, given out now if there is none. Writer only, inside its transaction.
    pub(super) fn intern(&self, conn: &Connection, text: &str) -> rusqlite::Result<i64> {
        if let Some(id) = self.id(text) {
            return Ok(id);
        }
        conn.prepare_cached("INSERT INTO name(text) VALUES(?1)")?.execute([text])?;
        let id = conn.last_insert_rowid();
        let text: Arc<str> = Arc::from(text);
        let mut table = self.table.write().unwrap_or_else(PoisonError::into_inner);
        table.by_text.insert(Arc::clone(&text), id);
        table.by_id.insert(id, text);
        Ok(id)
    }
}
