import Glibc
import Options
import Restart

let parsed = CommandTable.restart.parseOrExit()
do throws(RestartError) {
    exit(try Restarter(try RestartOptions(parsed)).run())
} catch {
    Reporter(command: "swiftcp_restart", quietness: parsed.quietness).error(error.message)
    exit(error.status)
}
