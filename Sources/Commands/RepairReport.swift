import Monitor
import ObjectStore

/// What would mend a store, finding by finding and in all.
public struct RepairReport: Report, Hashable, Sendable {
    /// One way to mend something.
    public struct Step: Codable, Hashable, Sendable {
        /// What was found.
        public var finding: StoreFinding
        /// What would mend it.
        public var remedy: StoreFinding.Remedy
    }

    /// The findings with their remedies; at most `StoreTools.listedFindings`.
    public var steps: [Step] = []
    /// Objects that must come from other members, by group (`?` where no group of the store takes them).
    public var objectsToFetch: [String: [String]] = [:]
    /// Whether the damage is of a kind that only recreating the OSD mends.
    public var mustRecreate = false
    /// All findings.
    public var findings = 0

    mutating func add(_ finding: StoreFinding) {
        if steps.count < StoreTools.listedFindings { steps.append(Step(finding: finding, remedy: finding.remedy)) }
        switch finding.remedy {
        case .recreate: mustRecreate = true
        case .fetchObject:
            guard let object = finding.object else { return }
            let group = finding.group ?? "?"
            if objectsToFetch[group]?.contains(object) != true { objectsToFetch[group, default: []].append(object) }
        case .nextStart, .leaveIt: break
        }
    }

    var text: String {
        guard findings > 0 else { return "nothing to mend\n" }
        var text = ""
        for (group, objects) in objectsToFetch.sorted(by: { $0.key < $1.key }) {
            text += "group \(group): \(objects.count) objects to fetch from other members\n"
        }
        if mustRecreate { text += "recreate this OSD: some of the damage cannot be mended in place\n" }
        return text
    }
}

extension StoreFinding.Remedy {
    /// What to do, in one line.
    var text: String {
        switch self {
        case .nextStart: "the next start of the OSD writes it anew"
        case .fetchObject: "fetch the object from another member: start the OSD and repair its group"
        case .recreate: "recreate this OSD from its peers; export what is whole first if they lack it"
        case .leaveIt: "nothing is lost; the space comes back when the OSD is recreated"
        }
    }
}
