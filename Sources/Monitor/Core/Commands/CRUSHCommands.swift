import CRUSH
import ClusterMap
import Glibc
import Wire

/// `osd crush …`: the hierarchy and its classes. What takes or shows rules is in `RuleCommands`.
enum CRUSHCommands {
    // MARK: Buckets and OSDs

    /// Makes a bucket, below another when a place is given. One that is there already is no error when it has the same type,
    /// as the sender may have missed the first answer.
    static func addBucket(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try arguments.required("name")
        let type = try draft.map.crush.existingType(arguments.required("type"))
        var crush = draft.map.crush
        if let known = crush.bucket(named: name) {
            guard known.type == type else {
                let other = crush.types[known.type] ?? "bucket"
                throw CommandFailure(EEXIST, "bucket '\(name)' exists already and is a \(other)")
            }
            return CommandResult("bucket '\(name)' already exists")
        }
        let location = try location(arguments, draft.map.crush)
        try edit(&crush) { crush throws(CRUSHError) in
            try crush.addBucket(named: name, type: type)
            guard let parent = try place(location, &crush) else { return }
            try crush.move(name, under: parent)
        }
        draft.setCRUSH(crush)
        let word = crush.types[type] ?? "\(type)"
        return CommandResult("added bucket \(name) type \(word)\(text(location)) to crush map")
    }

    /// Puts an OSD that the CRUSH map does not have yet at a place.
    static func add(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let osd = try registered(arguments, draft.map)
        guard !draft.map.crush.contains(osd) else {
            throw CommandFailure(
                EEXIST, "\(osd) is in the CRUSH map already: `osd crush set` gives it another place or weight")
        }
        return try set(&draft, view, arguments)
    }

    /// Gives an OSD a weight and a place, wherever it was before.
    static func set(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let osd = try registered(arguments, draft.map)
        let weight = try weight(arguments.required("weight"))
        var crush = draft.map.crush
        let location = try location(arguments, crush)
        guard !location.isEmpty else {
            throw CommandFailure(EINVAL, "\(osd) needs a place: give TYPE=NAME, such as host=\(osd.rawValue)")
        }
        try edit(&crush) { crush throws(CRUSHError) in
            if crush.contains(osd) {
                guard let parent = try place(location, &crush) else { return }
                let name = crush.name(of: ItemID(osd)) ?? osd.description
                if crush.parents(of: ItemID(osd)).map(\.name) != [parent] { try crush.move(name, under: parent) }
                try crush.reweight(osd, to: weight)
            } else {
                try crush.add(
                    osd, named: osd.description, weight: weight, at: Dictionary(uniqueKeysWithValues: location))
            }
        }
        draft.setCRUSH(crush)
        return CommandResult(
            "set item id \(osd.rawValue) name '\(osd)' weight \(shown(weight))\(text(location)) in crush map")
    }

    /// Moves a bucket with all that is below it, or an OSD.
    static func move(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try arguments.required("name")
        var crush = draft.map.crush
        let item = try crush.existingItem(name)
        let location = try location(arguments, crush)
        guard !location.isEmpty else {
            throw CommandFailure(EINVAL, "'\(Text.short(name))' needs a place to go to: give TYPE=NAME")
        }
        try edit(&crush) { crush throws(CRUSHError) in
            guard let parent = try place(location, &crush) else { return }
            if crush.parents(of: item).map(\.name) != [parent] { try crush.move(name, under: parent) }
        }
        draft.setCRUSH(crush)
        return CommandResult("moved item id \(item) name '\(name)' to location\(text(location)) in crush map")
    }

    /// Gives an OSD another weight where it stands.
    static func reweight(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try arguments.required("name")
        let weight = try weight(arguments.required("weight"))
        var crush = draft.map.crush
        guard let osd = try crush.existingItem(name).osd else {
            throw CommandFailure(
                EINVAL, "'\(name)' is a bucket, and weighs what is in it: reweight its OSDs")
        }
        try edit(&crush) { crush throws(CRUSHError) in try crush.reweight(osd, to: weight) }
        draft.setCRUSH(crush)
        return CommandResult("reweighted item id \(osd.rawValue) name '\(name)' to \(shown(weight)) in crush map")
    }

    /// Takes an OSD or an empty bucket out of the CRUSH map. One that is not there is no error, as the sender may have
    /// missed the first answer.
    static func remove(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try arguments.required("name")
        var crush = draft.map.crush
        guard let item = crush.item(named: name) else {
            return CommandResult("'\(Text.short(name))' does not appear in the crush map")
        }
        if let bucket = crush.bucket(item), !bucket.items.isEmpty {
            throw CommandFailure(
                ENOTEMPTY, "bucket '\(name)' still holds \(bucket.items.count) items: remove or move them first")
        }
        try edit(&crush) { crush throws(CRUSHError) in
            if let osd = item.osd { try crush.remove(osd) } else { try crush.removeBucket(named: name) }
        }
        draft.setCRUSH(crush)
        return CommandResult("removed item id \(item) name '\(name)' from crush map")
    }

    // MARK: Classes

    static func setClass(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try arguments.required("class")
        let osds = try arguments.osds()
        var crush = draft.map.crush
        for osd in osds {
            if let old = try crush.existingDevice(osd).deviceClass, old != name {
                throw CommandFailure(
                    EBUSY, "\(osd) has class '\(old)' already: `osd crush rm-device-class \(osd)` takes it away")
            }
        }
        try edit(&crush) { crush throws(CRUSHError) in
            for osd in osds { try crush.setDeviceClass(osd, to: name) }
        }
        if crush != draft.map.crush { draft.setCRUSH(crush) }
        return CommandResult("set osd(s) \(list(osds)) to class '\(name)'")
    }

    static func removeClass(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let osds = try arguments.osds()
        var crush = draft.map.crush
        for osd in osds { _ = try crush.existingDevice(osd) }
        try edit(&crush) { crush throws(CRUSHError) in
            for osd in osds { try crush.removeDeviceClass(osd) }
        }
        if crush != draft.map.crush { draft.setCRUSH(crush) }
        return CommandResult("done removing class of osd(s): \(list(osds))")
    }

    static func classes(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(Set(view.map.crush.devices.compactMap(\.deviceClass)).sorted())
    }

    /// The OSDs of a class.
    static func classMembers(
        _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let name = try arguments.required("class")
        return CommandResult(view.map.crush.devices.filter { $0.deviceClass == name }.map(\.id.rawValue))
    }

    // MARK: Tunables

    /// Sets the tunables to those of a profile, such as `jewel`.
    static func adoptTunables(
        _ draft: inout MapDraft, _ view: ClusterView, _ arguments: CommandArguments
    ) throws(CommandFailure) -> CommandResult {
        let profile = try arguments.required("profile")
        var crush = draft.map.crush
        guard let tunables = crush.tunables.adopting(profile: profile) else {
            let known = Tunables.profiles.keys.sorted().joined(separator: ", ")
            throw CommandFailure(EINVAL, "there is no profile '\(Text.short(profile))' of tunables: there are \(known)")
        }
        try edit(&crush) { crush throws(CRUSHError) in try crush.setTunables(tunables) }
        if crush != draft.map.crush { draft.setCRUSH(crush) }
        return CommandResult("adjusted tunables profile to \(profile)")
    }

    static func tunables(_ view: ClusterView, _ arguments: CommandArguments) throws(CommandFailure) -> CommandResult {
        CommandResult(TunablesReport(view.map.crush.tunables))
    }

    // MARK: What commands share

    /// The OSD of the argument `ids`, which the map has.
    private static func registered(_ arguments: CommandArguments, _ map: OSDMap) throws(CommandFailure) -> OSDID {
        let osd = try arguments.osd()
        _ = try map.existing(osd)
        return osd
    }

    /// Does an edit; what CRUSH refuses is a bad argument.
    static func edit(
        _ crush: inout CRUSHMap, _ body: (inout CRUSHMap) throws(CRUSHError) -> Void
    ) throws(CommandFailure) {
        do throws(CRUSHError) { try body(&crush) } catch { throw CommandFailure(EINVAL, "\(error)") }
    }

    /// The place of the argument `args`: words such as `host=pearl`, by ascending type.
    private static func location(
        _ arguments: CommandArguments, _ crush: CRUSHMap
    ) throws(CommandFailure) -> [(TypeID, String)] {
        var found: [TypeID: String] = [:]
        for word in (arguments.optional("args") ?? "").split(separator: " ") {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, !parts[1].isEmpty else {
                throw CommandFailure(EINVAL, "'\(Text.short(String(word)))' is no place: give TYPE=NAME")
            }
            let type = try crush.existingType(String(parts[0]))
            guard type != .osd, found.updateValue(String(parts[1]), forKey: type) == nil else {
                throw CommandFailure(EINVAL, "the place has '\(parts[0])' twice, or it is no bucket")
            }
        }
        return found.sorted { $0.key < $1.key }
    }

    /// Makes the buckets of a place that do not exist, each below the next, and gives the lowest; nil for no place.
    private static func place(
        _ location: [(TypeID, String)], _ crush: inout CRUSHMap
    ) throws(CRUSHError) -> String? {
        var above: String?
        for (type, name) in location.reversed() {
            if let bucket = crush.bucket(named: name) {
                guard bucket.type == type else {
                    let types = (crush.types[bucket.type] ?? "bucket", crush.types[type] ?? "\(type)")
                    throw CRUSHError("'\(name)' is a \(types.0) in the CRUSH map, not a \(types.1)")
                }
            } else {
                try crush.addBucket(named: name, type: type, under: above)
            }
            above = name
        }
        return above
    }

    private static func text(_ location: [(TypeID, String)]) -> String {
        location.isEmpty ? "" : " at " + location.map(\.1).joined(separator: " in ")
    }

    private static func list(_ osds: [OSDID]) -> String { osds.map { "\($0.rawValue)" }.joined(separator: ",") }

    private static func shown(_ weight: CRUSHWeight) -> String { "\(share(weight.rawValue))" }

    /// A CRUSH weight, in TiB by custom, cut to 16 binary places as the field's tools cut it.
    static func weight(_ text: String) throws(CommandFailure) -> CRUSHWeight {
        guard let weight = CRUSHWeight(text: text), weight <= CRUSHLimits.deviceWeight else {
            throw CommandFailure(
                EINVAL,
                "the weight is '\(Text.short(text))': give TiB from 0 to \(CRUSHLimits.deviceWeight.rawValue >> 16)")
        }
        return weight
    }

    /// 16.16 fixed point as a number with five decimals.
    static func share(_ fixed: UInt32) -> Double { (Double(fixed) / 65536 * 100_000).rounded() / 100_000 }
}
