from scaling.cli.main import main

main()
