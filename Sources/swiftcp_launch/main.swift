import Glibc
import Launch
import Options

do throws(LaunchError) {
    exit(try Launcher(try LaunchOptions.ofThisProcess()).run())
} catch {
    Reporter(command: "swiftcp_launch").error(error.message)
    exit(error.status)
}
