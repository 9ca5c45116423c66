import PlacementGroup
import Protocol
import Wire

/// What the monitor was told of groups last.
struct ToldStatistics {
    var groups: [PGID: GroupStatistics] = [:]
    /// When it was told of all.
    var wholeAt: UInt64?
}

extension OSDCore {
    /// What the monitor does not know yet: how the OSD is, and the groups that have changed; now and then all of them, since
    /// what was said may have been lost with a session.
    func news(at now: UInt64) -> OSDStatistics {
        var news = statistics
        let isWhole = told.wholeAt.map { now - $0 >= OSDLimits.wholeStatisticsInterval } ?? true
        let before = told.groups
        told.groups = Dictionary(news.groups.map { ($0.group, $0) }, uniquingKeysWith: { $1 })
        if isWhole {
            told.wholeAt = now
        } else {
            news.isWhole = false
            news.groups.removeAll { before[$0.group] == $0 }
        }
        return news
    }
}
