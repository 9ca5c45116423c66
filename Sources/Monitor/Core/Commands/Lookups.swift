import CRUSH
import ClusterMap
import Glibc
import Wire

/// What commands name, found in the map; what is not there is refused with the command that lists what is.
extension OSDMap {
    /// The record of an OSD.
    func existing(_ osd: OSDID) throws(CommandFailure) -> OSDRecord {
        guard let record = osds[osd] else {
            throw CommandFailure(ENOENT, "\(osd) does not exist: `osd ls` names those that do")
        }
        return record
    }

    /// The pool of a name.
    func existingPool(_ name: String) throws(CommandFailure) -> Pool {
        guard let pool = pool(named: name) else {
            throw CommandFailure(ENOENT, "pool '\(Text.short(name))' does not exist: `osd pool ls` names those that do")
        }
        return pool
    }
}

extension CRUSHMap {
    /// The type of a name.
    func existingType(_ name: String) throws(CommandFailure) -> TypeID {
        guard let type = type(named: name) else {
            let known = types.sorted { $0.key < $1.key }.map(\.value).joined(separator: ", ")
            throw CommandFailure(EINVAL, "the CRUSH map has no type '\(Text.short(name))': there are \(known)")
        }
        return type
    }

    /// The bucket or the OSD of a name.
    func existingItem(_ name: String) throws(CommandFailure) -> ItemID {
        guard let item = item(named: name) else {
            throw CommandFailure(ENOENT, "'\(Text.short(name))' is not in the CRUSH map: `osd tree` names what is")
        }
        return item
    }

    /// The device of an OSD.
    func existingDevice(_ osd: OSDID) throws(CommandFailure) -> Device {
        guard let device = device(osd) else {
            throw CommandFailure(ENOENT, "\(osd) is not in the CRUSH map: `osd tree` names what is")
        }
        return device
    }

    /// The rule of a name.
    func existingRule(_ name: String) throws(CommandFailure) -> Rule {
        guard let rule = rule(named: name) else {
            let known = rules.map(\.name).joined(separator: ", ")
            throw CommandFailure(ENOENT, "there is no CRUSH rule '\(Text.short(name))': there are \(known)")
        }
        return rule
    }
}

extension CommandArguments {
    /// The one OSD of the argument `ids`.
    func osd() throws(CommandFailure) -> OSDID {
        let osds = try osds()
        guard let osd = osds.first, osds.count == 1 else { throw CommandFailure(EINVAL, "give one OSD") }
        return osd
    }
}
