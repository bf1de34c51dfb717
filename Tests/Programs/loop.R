# A long vectorised loop.
scale <- as.numeric(Sys.getenv("SCALE", "1"))
cat("START\n")
flush(stdout())
x <- as.numeric(1:200000)
total <- 0
for (round in 1:(80 * scale)) {
    y <- sqrt(x * round) + sin(x)
    total <- total + sum(y[y > round]) / length(y)
    x <- (x * 1.0001 + round) %% 1000003
}
cat(sprintf("RESULT %.12e\n", total))
